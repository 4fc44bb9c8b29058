package plan

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// union is the keys of both, sorted.
func union[V any](a, b map[string]V) []string {
	all := slices.Collect(maps.Keys(a))
	for k := range b {
		if _, ok := a[k]; !ok {
			all = append(all, k)
		}
	}
	slices.Sort(all)
	return all
}

// child compares one member of two objects, either of which may lack it.
func (d *differ) child(field, name string, was, now map[string]any, at hcl.Range) {
	before, had := was[name]
	after, has := now[name]
	switch {
	case had && has:
		d.json(field, before, after, at)
	case had:
		d.add(field, shown(before), "", at)
	case has:
		d.add(field, "", shown(after), at)
	}
}

// json walks down to the paths at which two JSON values differ.
func (d *differ) json(field string, was, now any, at hcl.Range) {
	if reflect.DeepEqual(was, now) {
		return
	}
	switch before := was.(type) {
	case map[string]any:
		if after, ok := now.(map[string]any); ok {
			for _, name := range union(before, after) {
				d.child(field+member(name), name, before, after, at)
			}
			return
		}
	case []any:
		if after, ok := now.([]any); ok {
			d.list(field, before, after, at)
			return
		}
	}
	d.add(field, shown(was), shown(now), at)
}

// list sets the equal head and tail aside, so that one added element is one change.
func (d *differ) list(field string, was, now []any, at hcl.Range) {
	head := 0
	for head < min(len(was), len(now)) && reflect.DeepEqual(was[head], now[head]) {
		head++
	}
	tail := 0
	for tail < min(len(was), len(now))-head &&
		reflect.DeepEqual(was[len(was)-1-tail], now[len(now)-1-tail]) {
		tail++
	}
	before, after := was[head:len(was)-tail], now[head:len(now)-tail]
	for i := range max(len(before), len(after)) {
		path := fmt.Sprintf("%s[%d]", field, head+i)
		switch {
		case i >= len(after):
			d.add(path, shown(before[i]), "", at)
		case i >= len(before):
			d.add(path, "", shown(after[i]), at)
		default:
			d.json(path, before[i], after[i], at)
		}
	}
}

func member(name string) string {
	if hclIdentifier(name) {
		return "." + name
	}
	return fmt.Sprintf("[%q]", name)
}

func shown(v any) string {
	b, err := artifacts.JCS(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
