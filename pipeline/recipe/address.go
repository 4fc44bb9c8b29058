package recipe

import "strings"

// part is one step of an address: module.NAME, kind.name, or either with an instance's key.
type part struct {
	kind, name string
	keyed      bool
	key        string // as it stands between the brackets
}

func (p part) isModule() bool { return p.kind == "module" }

// text writes a part without its key.
func (p part) text() string { return p.kind + "." + p.name }

// parts takes an address apart. rest is what stands behind the stage, such as a port; ok is false for what is no
// address.
func parts(s string) (all []part, rest string, ok bool) {
	for {
		p, after, ok := cutPart(s)
		if !ok {
			return all, s, false
		}
		all = append(all, p)
		s = after
		if !p.isModule() || s == "" {
			return all, strings.TrimPrefix(s, "."), s == "" || s[0] == '.' && len(s) > 1
		}
		if s[0] != '.' {
			return all, s, false
		}
		s = s[1:]
	}
}

func cutPart(s string) (p part, rest string, ok bool) {
	p.kind, s, ok = strings.Cut(s, ".")
	if !ok || p.kind == "" {
		return p, s, false
	}
	end := strings.IndexAny(s, ".[")
	if end < 0 {
		p.name = s
		return p, "", s != ""
	}
	p.name, s = s[:end], s[end:]
	if s[0] == '.' {
		return p, s, p.name != ""
	}
	p.key, s, ok = cutKey(s)
	p.keyed = true
	return p, s, ok && p.name != ""
}

// cutKey parts ["key"] from what follows. A key in quotes may hold anything, with \ before quotes.
func cutKey(s string) (key, rest string, ok bool) {
	if !strings.HasPrefix(s, `["`) {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", s, false
		}
		return s[1:end], s[end+1:], true
	}
	for i := 2; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == '"' && strings.HasPrefix(s[i+1:], "]"):
			return s[1 : i+1], s[i+2:], true
		}
	}
	return "", s, false
}

// Covers says that an address is the one named, or belongs to it: an instance of a block, or a stage of a module. A
// module without its key stands for all of its instances.
func Covers(named, address string) bool {
	if named == address {
		return true
	}
	wanted, rest, ok := parts(named)
	have, _, ok2 := parts(address)
	if !ok || !ok2 || rest != "" || len(wanted) > len(have) {
		return false
	}
	for i, w := range wanted {
		if w.text() != have[i].text() || w.keyed && (!have[i].keyed || w.key != have[i].key) {
			return false
		}
	}
	return len(wanted) == len(have) || wanted[len(wanted)-1].isModule()
}

// Modules are the addresses that stand for the modules a stage is in, outer ones first; of one with for_each, that of all
// instances and that of its own.
func (s *Stage) Modules() []string {
	all, _, _ := parts(s.Module)
	var out []string
	before := ""
	for _, p := range all {
		out = append(out, before+p.text())
		if p.keyed {
			out = append(out, before+p.text()+"["+p.key+"]")
		}
		before = out[len(out)-1] + "."
	}
	return out
}

// SplitAddress parts a stage's address from what stands behind it, such as a port. Of what is no address, all is the
// address.
func SplitAddress(s string) (address, rest string) {
	_, rest, ok := parts(s)
	if !ok || rest == "" {
		return s, ""
	}
	return strings.TrimSuffix(s, "."+rest), rest
}
