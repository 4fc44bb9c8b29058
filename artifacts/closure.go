package artifacts

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Closure is what describes a record without the bytes of its inputs and outputs: what another place must have before it may name the
// record. Digests that an action or a record leaves out are zero.
type Closure struct {
	Record, Action, Log, Env Digest

	Worker     Digest
	WorkerTree bool // Worker is a manifest, whose files belong to the closure; else the blob says what program it is

	Inputs, Outputs []Digest // manifests, each once
}

// Closure reads record, action and worker of what is stored as record. Whether the rest of it is there, it does not ask.
func (c *Cache) Closure(ctx context.Context, record Digest) (*Closure, error) {
	rec, err := c.Record(ctx, record)
	if err != nil {
		return nil, err
	}
	a, err := c.Action(ctx, rec.Key)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", record.Short(), err)
	}
	worker, err := c.object(ctx, "worker", a.Worker)
	if err != nil {
		return nil, fmt.Errorf("action %s: %w", rec.Key.Short(), err)
	}
	return NewClosure(record, rec, a, worker), nil
}

// NewClosure is the closure of a record of an action; worker is the blob that the action names.
func NewClosure(record Digest, rec *Record, a *Action, worker []byte) *Closure {
	_, err := DecodeManifest(worker)
	return &Closure{
		Record: record, Action: rec.Key.Digest(), Log: rec.Log, Env: a.Env, Worker: a.Worker, WorkerTree: err == nil,
		Inputs: distinct(a.Inputs), Outputs: distinct(rec.Outputs),
	}
}

func distinct(byPort map[string]Digest) []Digest {
	all := slices.SortedFunc(maps.Values(byPort), func(a, b Digest) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(all)
}

// Blobs are all that are stored whole, each once: manifests among them, the files that these list not. What names others comes
// after them, so that blobs stored in this order never name what is not there.
func (c *Closure) Blobs() []Digest {
	all := slices.Concat(c.Inputs, c.Outputs, []Digest{c.Worker, c.Env, c.Log, c.Action, c.Record})
	seen := make(map[Digest]bool, len(all))
	return slices.DeleteFunc(all, func(d Digest) bool {
		if d.IsZero() || seen[d] {
			return true
		}
		seen[d] = true
		return false
	})
}
