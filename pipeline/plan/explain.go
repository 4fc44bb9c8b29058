package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// ErrNoKey: the earlier build stopped before the step had an Action, so there is nothing to compare with.
var ErrNoKey = errors.New("the earlier build did not get as far as a key for this stage")

// Change is one difference between two Actions of a stage. Old or New is empty where the field was not there.
// A field that is a file ends in ": path", and Old and New are short digests.
type Change struct {
	Field    string // params.bits, params.ignore[1], inputs.model, worker: gptq/worker.py, env.packages.numpy, salt, …
	Old, New string
	From     string    // inputs: address of the stage that makes it now
	Note     string    // inputs: what became of From
	Range    hcl.Range // the recipe line that decides the field
}

const (
	leadIn   = 20              // characters of a long value that stand before the first that differs
	maxShown = 60              // characters of a value in one line
	notKnown = "not known yet" // New of an input whose producer has no result
)

func (c Change) String() string {
	switch {
	case c.New == notKnown:
		return fmt.Sprintf("input %s is not known yet (%s)", strings.TrimPrefix(c.Field, "inputs."), c.Note)
	case c.From != "":
		return fmt.Sprintf("input %s changed (%s)", strings.TrimPrefix(c.Field, "inputs."), c.Note)
	case strings.Contains(c.Field, ": "):
		return c.Field + " " + c.verb()
	case c.Old == "":
		return fmt.Sprintf("%s added: %s", c.Field, clip(c.New))
	case c.New == "":
		return fmt.Sprintf("%s removed (was %s)", c.Field, clip(c.Old))
	}
	before, after := apart(c.Old, c.New)
	return fmt.Sprintf("%s changed: %s → %s", c.Field, clip(before), clip(after))
}

func (c Change) verb() string {
	switch {
	case c.Old == "":
		return "added"
	case c.New == "":
		return "removed"
	}
	return "changed"
}

func clip(s string) string {
	if r := []rune(s); len(r) > maxShown {
		return string(r[:maxShown-1]) + "…"
	}
	return s
}

// apart leaves out what two values begin with alike, where one is too long for the line: the ends of two long commands
// may be all that differs.
func apart(before, after string) (string, string) {
	a, b := []rune(before), []rune(after)
	if max(len(a), len(b)) <= maxShown {
		return before, after
	}
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	if same <= leadIn {
		return before, after
	}
	return "…" + string(a[same-leadIn:]), "…" + string(b[same-leadIn:])
}

// Explain compares a step with what its address was in an earlier build, field by field. Of a pending step it
// compares what is known. No changes means that the two have the same key.
func Explain(ctx context.Context, cache *artifacts.Cache, old artifacts.Step, s *Step) ([]Change, error) {
	if old.Key.IsZero() {
		return nil, ErrNoKey
	}
	if s.Action != nil && old.Key == s.Key {
		return nil, nil
	}
	was, err := cache.Action(ctx, old.Key)
	if errors.Is(err, artifacts.ErrDamaged) {
		if c, ok := formatChange(ctx, cache, old.Key, s); ok {
			return []Change{c}, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the earlier action of %s: %w", s.address(), err)
	}
	now := s.Action
	if now == nil {
		now = s.partial
	}
	d := &differ{ctx: ctx, cache: cache, step: s, was: was, now: now}
	return d.changes(s.address())
}

// changes compares field by field; of is what is compared, for people.
func (d *differ) changes(of string) ([]Change, error) {
	d.header()
	if err := d.params(); err != nil {
		return nil, fmt.Errorf("comparing the params of %s: %w", of, err)
	}
	d.inputs()
	d.outputs()
	d.worker()
	d.env()
	d.facts()
	return d.out, nil
}

// formatChange tells an action of another format, which this version cannot decode, from a damaged one.
func formatChange(ctx context.Context, cache *artifacts.Cache, key artifacts.Key, s *Step) (Change, bool) {
	b, err := cache.GetBytes(ctx, key.Digest())
	if err != nil {
		return Change{}, false
	}
	var was struct{ Format int }
	if json.Unmarshal(b, &was) != nil || was.Format == artifacts.ActionFormat {
		return Change{}, false
	}
	return Change{
		Field: "format", Old: fmt.Sprint(was.Format), New: fmt.Sprint(artifacts.ActionFormat),
		Range: s.Node.Stage.Range,
	}, true
}

// differ collects the changes between two Actions of one step. Detail that the cache no longer holds is left out, and
// the change of the digest is told instead.
type differ struct {
	ctx      context.Context
	cache    *artifacts.Cache
	step     *Step
	was, now *artifacts.Action
	out      []Change
}

func (d *differ) add(field, was, now string, at hcl.Range) {
	if was != now {
		d.out = append(d.out, Change{Field: field, Old: was, New: now, Range: at})
	}
}

func (d *differ) header() {
	at := d.step.Node.Stage.Range
	d.add("kind", d.was.Kind, d.now.Kind, at)
	if d.was.Salt != d.now.Salt { // the place of the attribute is looked for in all that was parsed
		d.add("salt", d.was.Salt, d.now.Salt, d.step.attributeRange("salt"))
	}
	d.json("command", stringList(d.was.Command), stringList(d.now.Command), at)
}

func stringList(all []string) any {
	out := make([]any, len(all))
	for i, s := range all {
		out[i] = s
	}
	return out
}

func (d *differ) params() error {
	var was, now map[string]any
	if err := json.Unmarshal(d.was.Params, &was); err != nil {
		return err
	}
	if err := json.Unmarshal(d.now.Params, &now); err != nil {
		return err
	}
	if d.step.Source != "" {
		d.pins(was, now)
	}
	for _, name := range union(was, now) {
		d.child("params."+name, name, was, now, d.step.paramRange(name))
	}
	return nil
}

// pins are told by path: their places in the list mean nothing.
func (d *differ) pins(was, now map[string]any) {
	at := d.step.sourceRange()
	before, after := byPath(was["pins"]), byPath(now["pins"])
	delete(was, "pins")
	delete(now, "pins")
	if d.step.Pins == nil {
		d.add("params.pins", fmt.Sprintf("%d files", len(before)), "not locked yet: "+d.step.Source, at)
		return
	}
	for _, path := range union(before, after) {
		d.child(fmt.Sprintf("params.pins[%q]", path), path, before, after, at)
	}
}

func byPath(pins any) map[string]any {
	out := map[string]any{}
	list, _ := pins.([]any)
	for _, one := range list {
		if o, ok := one.(map[string]any); ok {
			if path, ok := o["path"].(string); ok {
				out[path] = o
			}
		}
	}
	return out
}

func (d *differ) outputs() {
	for _, port := range union(d.was.Outputs, d.now.Outputs) {
		d.add("outputs."+port, d.was.Outputs[port], d.now.Outputs[port], d.step.Node.Stage.Range)
	}
}

func (d *differ) facts() {
	for _, name := range union(d.was.Facts, d.now.Facts) {
		d.add("facts."+name, fact(d.was.Facts, name), fact(d.now.Facts, name), d.step.Node.Stage.Range)
	}
}

// fact keeps an empty fact apart from one that is not there.
func fact(all map[string]string, name string) string {
	v, ok := all[name]
	if ok && v == "" {
		return `""`
	}
	return v
}

// bytes of a blob that an Action refers to: among the step's own, else in the cache.
func (d *differ) bytes(digest artifacts.Digest) ([]byte, bool) {
	for _, s := range d.step.Support {
		if s.Blob.Digest != digest {
			continue
		}
		r, err := s.Open()
		if err != nil {
			return nil, false
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		return b, err == nil
	}
	b, err := d.cache.GetBytes(d.ctx, digest)
	return b, err == nil
}
