package plan

import (
	"encoding/json"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

func (d *differ) inputs() {
	st := d.step.Node.Stage
	waits := map[string]*Step{}
	for _, w := range d.step.waits {
		waits[w.input] = w.producer
	}
	ports := map[string]artifacts.Digest{}
	for port := range waits {
		ports[port] = artifacts.Digest{}
	}
	for port, digest := range d.now.Inputs {
		ports[port] = digest
	}
	for _, port := range union(d.was.Inputs, ports) {
		was, had := d.was.Inputs[port]
		now := ports[port]
		in, has := st.Inputs[port]
		at := in.Range
		if !has {
			name, _, _ := strings.Cut(port, "[")
			at = d.step.attributeRange(name)
		}
		field := "inputs." + port
		switch {
		case waits[port] != nil:
			from := waits[port].address()
			d.out = append(d.out, Change{field, short(was, had), notKnown, from, from + " comes first", at})
		case was == now:
		case in.Ref != nil && had:
			d.out = append(d.out, Change{field, was.Short(), now.Short(), in.Ref.Address, d.became(in.Ref.Address), at})
		case had && has && d.files(field, was, now, at):
		default:
			d.add(field, short(was, had), short(now, has), at)
		}
	}
}

func short(digest artifacts.Digest, there bool) string {
	if !there {
		return ""
	}
	return digest.Short()
}

// became says what the producer of an input did in this plan.
func (d *differ) became(address string) string {
	if p := d.step.planner; p != nil && p.byAddress[address] != nil && p.byAddress[address].State == Run {
		return address + " ran"
	}
	return "now from " + address + ", in the cache"
}

// files tells two trees apart file by file; it is false when that cannot be done.
func (d *differ) files(field string, was, now artifacts.Digest, at hcl.Range) bool {
	before, ok := d.tree(was)
	if !ok {
		return false
	}
	after, ok := d.tree(now)
	if !ok {
		return false
	}
	n := len(d.out)
	for _, path := range union(before, after) {
		b, a := before[path], after[path]
		if b == a {
			continue
		}
		c := Change{Field: field + ": " + path, Range: at}
		if _, ok := before[path]; ok {
			c.Old = fileMark(b)
		}
		if _, ok := after[path]; ok {
			c.New = fileMark(a)
		}
		d.out = append(d.out, c)
	}
	return len(d.out) > n
}

func fileMark(f artifacts.File) string {
	if f.Exec {
		return f.Digest.Short() + " executable"
	}
	return f.Digest.Short()
}

func (d *differ) tree(digest artifacts.Digest) (map[string]artifacts.File, bool) {
	b, ok := d.bytes(digest)
	if !ok {
		return nil, false
	}
	m, err := artifacts.DecodeManifest(b)
	if err != nil {
		return nil, false
	}
	out := map[string]artifacts.File{}
	for _, f := range m.Files {
		f.MediaType = ""
		out[f.Path] = f
	}
	return out, true
}

func (d *differ) worker() {
	was, now, at := d.was.Worker, d.now.Worker, d.step.Node.Stage.Range
	if was == now || d.files("worker", was, now, at) {
		return
	}
	if d.step.Node.Stage.Kind.Native {
		at = d.step.paramRange("command")
		if d.blobs("worker", was, now, at) {
			return
		}
	}
	d.add("worker", was.Short(), now.Short(), at)
}

// blobs tells two JSON objects apart; it is false when that cannot be done.
func (d *differ) blobs(field string, was, now artifacts.Digest, at hcl.Range) bool {
	before, ok := d.object(was)
	if !ok {
		return false
	}
	after, ok := d.object(now)
	if !ok {
		return false
	}
	n := len(d.out)
	d.json(field, before, after, at)
	return len(d.out) > n
}

func (d *differ) object(digest artifacts.Digest) (map[string]any, bool) {
	b, ok := d.bytes(digest)
	if !ok {
		return nil, false
	}
	var out map[string]any
	if json.Unmarshal(b, &out) != nil {
		return nil, false
	}
	return out, true
}

// env differs by package; what else describes an environment is told as it stands in its blob.
func (d *differ) env() {
	was, now, at := d.was.Env, d.now.Env, d.step.Node.Stage.Range
	if was == now {
		return
	}
	before, ok := d.object(was)
	after, ok2 := d.object(now)
	n := len(d.out)
	if ok && ok2 {
		if old, fresh := packages(before), packages(after); old != nil && fresh != nil {
			d.packages(old, fresh, at)
			for _, list := range packageLists {
				delete(before, list)
				delete(after, list)
			}
		}
		d.json("env", before, after, at)
	}
	if len(d.out) == n {
		d.add("env", short(was, !was.IsZero()), short(now, !now.IsZero()), at)
	}
}

// pinned is what a lock says of a package: its versions with their markers, and the hashes of its files.
type pinned struct{ versions, hashes string }

// packageLists are where an environment's blob names packages: what was locked, or what an interpreter of a machine has.
var packageLists = []string{"lock", "distributions"}

// packages is the packages of an environment's blob; nil where they are not as this version writes them.
func packages(blob map[string]any) map[string]pinned {
	out := map[string]pinned{}
	var all []any
	for _, list := range packageLists {
		some, _ := blob[list].([]any)
		all = append(all, some...)
	}
	for _, one := range all {
		entry, _ := one.(string)
		name, rest, ok := strings.Cut(entry, "==")
		if !ok {
			return nil
		}
		version, hashes, _ := strings.Cut(rest, " --hash=")
		if old, ok := out[name]; ok {
			version, hashes = old.versions+", "+version, old.hashes+" "+hashes
		}
		out[name] = pinned{version, hashes}
	}
	return out
}

func (d *differ) packages(was, now map[string]pinned, at hcl.Range) {
	for _, name := range union(was, now) {
		before, after := was[name], now[name]
		if before.versions != after.versions {
			d.add("env.packages."+name, before.versions, after.versions, at)
		} else if before != after {
			d.add("env.packages."+name, before.versions+" "+before.hashes, after.versions+" "+after.hashes, at)
		}
	}
}
