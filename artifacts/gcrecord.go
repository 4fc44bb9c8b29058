package artifacts

import (
	"context"
	"errors"
	"fmt"
)

// record marks a record and all that tells of it, but not its files.
func (m *marker) record(ctx context.Context, d Digest) recordNote {
	note, ok := m.records[d]
	if !ok {
		note.err = m.readRecord(ctx, d, &note)
		m.records[d] = note
	}
	return note
}

func (m *marker) readRecord(ctx context.Context, d Digest, note *recordNote) error {
	rec, err := m.c.Record(ctx, d)
	if err != nil {
		return err
	}
	m.need(d, rec.Log)
	note.key, note.ended = rec.Key, rec.Ended
	for port, out := range rec.Outputs {
		files, err := m.tree(ctx, out)
		if err != nil {
			return fmt.Errorf("record %s: output %s: %w", d.Short(), port, err)
		}
		m.outputs[out] = true
		note.files = append(note.files, files...)
	}
	if err := m.action(ctx, rec.Key, true); err != nil {
		return fmt.Errorf("record %s: %w", d.Short(), err)
	}
	return nil
}

// action marks what describes a key: the worker's sources with their files, the environment, the lists of its inputs.
// A build can name a key whose action was never stored.
func (m *marker) action(ctx context.Context, k Key, must bool) error {
	if _, ok := m.actions[k]; ok {
		return nil
	}
	a, err := m.c.Action(ctx, k)
	if errors.Is(err, ErrMissing) && (!must || m.lost[k.Digest()]) {
		return nil
	}
	if err != nil {
		return m.unreadUnless(must, blobPath(k.Digest()), err)
	}
	m.actions[k] = a
	m.need(k.Digest(), a.Worker, a.Env)
	sources, err := m.sources(ctx, a.Worker)
	if err != nil {
		return m.unreadUnless(must, blobPath(a.Worker), err)
	}
	m.need(sources...)
	for _, in := range a.Inputs {
		if _, err := m.tree(ctx, in); err != nil {
			return m.unreadUnless(must, blobPath(in), err)
		}
	}
	return nil
}

// sources are the files of a worker. What an exec has in its place is a sound blob, and no manifest.
func (m *marker) sources(ctx context.Context, d Digest) ([]Digest, error) {
	files, err := m.tree(ctx, d)
	if errors.Is(err, ErrDamaged) {
		if _, unsound := m.c.object(ctx, "worker", d); unsound == nil {
			return nil, nil
		}
	}
	return files, err
}

func (m *marker) unreadUnless(must bool, name string, err error) error {
	if must {
		return err
	}
	return m.unread(name, err)
}

// tree marks a manifest, and gives its files.
func (m *marker) tree(ctx context.Context, d Digest) ([]Digest, error) {
	if files, ok := m.trees[d]; ok {
		return files, nil
	}
	t, err := m.c.Manifest(ctx, d)
	if errors.Is(err, ErrMissing) && m.lost[d] {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	files := t.digests()
	m.need(d)
	m.trees[d] = files
	return files, nil
}
