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
			d.out = append(d.out, Change{field, short(was, had), "not known yet", from, from + " has no result yet", at})
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

func (d *differ) env() {
	was, now, at := d.was.Env, d.now.Env, d.step.Node.Stage.Range
	if was == now || d.blobs("env", was, now, at) {
		return
	}
	d.add("env", short(was, !was.IsZero()), short(now, !now.IsZero()), at)
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
	if lock, ok := out["lock"].(string); ok {
		out["packages"] = packages(lock)
		delete(out, "lock")
	}
	return out, true
}

// packages reads the requirements of a lock: name → version, with what follows it (markers, hashes) told apart.
func packages(lock string) map[string]any {
	out := map[string]any{}
	joined := strings.ReplaceAll(lock, "\\\n", " ")
	for line := range strings.Lines(joined) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		name, version, _ := strings.Cut(fields[0], "==")
		entry := strings.Join(append([]string{version}, fields[1:]...), " ")
		if old, ok := out[name].(string); ok {
			entry = old + " | " + entry
		}
		out[name] = entry
	}
	return out
}
