package main

import (
	"strings"

	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// canonical writes an instance's address as recipes do. A shell eats quotes, so module.q[a].gptq.int4[g128] is taken
// for module.q["a"].gptq.int4["g128"].
func canonical(address string) string {
	var b strings.Builder
	for {
		open := strings.IndexByte(address, '[')
		if open < 0 {
			break
		}
		end := keyEnd(address[open:])
		if end < 0 {
			break
		}
		end += open
		b.WriteString(address[:open] + `["` + strings.Trim(address[open+1:end], `"'`) + `"]`)
		address = address[end+1:]
	}
	return b.String() + address
}

// canonicalSet does the same for what stands before the = of ADDRESS.NAME=VALUE.
func canonicalSet(set string) string {
	inKey := false
	for i := range len(set) {
		switch {
		case set[i] == '[', set[i] == ']':
			inKey = set[i] == '['
		case set[i] == '=' && !inKey:
			return canonical(set[:i]) + set[i:]
		}
	}
	return set
}

// keyEnd is where the bracket closes that s begins with: behind a quoted key, else where an address can go on or end.
// It is -1 where none does.
func keyEnd(s string) int {
	quote := ""
	if len(s) > 1 && strings.ContainsAny(s[1:2], `"'`) {
		quote = s[1:2]
	}
	for i := 1; i < len(s); i++ {
		switch {
		case quote == `"` && s[i] == '\\':
			i++
		case s[i] != ']' || quote != "" && (i < 3 || s[i-1:i] != quote):
		case i+1 == len(s) || s[i+1] == '.':
			return i
		}
	}
	return -1
}

// splitPort parts a stage's address, kind.name or module.NAME.kind.name["key"], from the port behind it. The port is ""
// where none is named.
func splitPort(s string) (address, port string) {
	return recipe.SplitAddress(canonical(s))
}

// covers says that an address is the one named, or belongs to it: an instance of a block, or a stage of a module.
func covers(named, address string) bool { return recipe.Covers(named, address) }
