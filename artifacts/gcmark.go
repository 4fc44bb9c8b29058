package artifacts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// marker walks all names, and learns which blobs stay.
type marker struct {
	c      *Cache
	ground Ground
	policy Policy

	names    map[Digest]bool // that are held
	lost     map[Digest]bool // history that Repair has given up: that it is gone hides nothing that could be wanted
	needed   map[Digest]bool // blobs that stay, whatever becomes of results
	wanted   map[Key]bool    // keys that kept builds and running ones name
	lastUse  map[Key]time.Time
	records  map[Digest]recordNote
	actions  map[Key]*Action     // as records
	trees    map[Digest][]Digest // manifests and their files
	outputs  map[Digest]bool     // manifests that records name
	results  []Result
	sizes    map[Digest]int64
	kept     map[Digest]bool // builds
	problems []Problem
}

// recordNote is what of a record is needed here.
type recordNote struct {
	key   Key
	ended time.Time
	files []Digest
	err   error // why it could not be read
}

func newMarker(c *Cache, ground Ground, p Policy) *marker {
	return &marker{
		c: c, ground: ground, policy: p,
		needed: map[Digest]bool{}, wanted: map[Key]bool{}, lastUse: map[Key]time.Time{}, records: map[Digest]recordNote{},
		actions: map[Key]*Action{}, trees: map[Digest][]Digest{}, outputs: map[Digest]bool{}, sizes: map[Digest]int64{},
		kept: map[Digest]bool{},
	}
}

// young also has what comes from the future: the clock was set back.
func (m *marker) young(t time.Time) bool {
	return m.policy.Now.Sub(t) < m.policy.Grace || t.After(m.policy.Now)
}

// fresh is young by the time at which a blob or a pointer was written.
func (m *marker) fresh(ctx context.Context, name string) (bool, error) {
	t, err := m.ground.Changed(ctx, name)
	if errors.Is(err, ErrMissing) {
		return false, nil
	}
	return err == nil && m.young(t), err
}

func (m *marker) need(all ...Digest) {
	for _, d := range all {
		m.needed[d] = true
	}
}

// unread keeps what could not be read in mind. Only what is wrong with the cache is a problem; the rest is an error.
func (m *marker) unread(name string, err error) error {
	kind := Damaged
	switch {
	case errors.Is(err, ErrMissing):
		kind = Dangling
	case !errors.Is(err, ErrDamaged):
		return err
	}
	m.problems = append(m.problems, Problem{Name: name, Kind: kind, Detail: err.Error()})
	return nil
}

func (m *marker) held(ctx context.Context) error {
	var err error
	if m.names, err = m.ground.Held(ctx); err != nil {
		return err
	}
	if m.lost, err = m.c.losses(ctx); err != nil {
		return err
	}
	for d := range m.names {
		m.need(d)
		m.wanted[Key(d)] = true
	}
	return nil
}

// builds are read newest first. Of each recipe so many stay that ended well, and so many others.
func (m *marker) builds(ctx context.Context) error {
	type counts struct{ whole, other int }
	seen := map[string]*counts{}
	for b, err := range m.c.buildsNamed(ctx) {
		if err != nil {
			if err := m.unread(blobPath(b.digest), err); err != nil {
				return err
			}
			continue
		}
		n := seen[b.RecipePath]
		if n == nil {
			n = &counts{}
			seen[b.RecipePath] = n
		}
		count := &n.whole
		if b.Exit != 0 || len(b.Targets) > 0 {
			count = &n.other
		}
		*count++
		keep := *count <= m.policy.Keep || m.young(b.Ended)
		if err := m.build(ctx, b, keep); err != nil {
			return err
		}
	}
	return nil
}

func (m *marker) build(ctx context.Context, b namedBuild, keep bool) error {
	m.need(b.digest, b.Recipe, b.Lock)
	for _, d := range b.Modules {
		m.need(d)
	}
	if keep {
		m.kept[b.digest] = true
	}
	for _, s := range b.Steps {
		m.need(s.Log)
		if s.Key.IsZero() {
			continue
		}
		if _, ok := m.lastUse[s.Key]; !ok {
			m.lastUse[s.Key] = b.Ended
		}
		if keep {
			m.wanted[s.Key] = true
		}
		if err := m.action(ctx, s.Key, false); err != nil {
			return err
		}
		if s.Record.IsZero() {
			continue
		}
		rec := m.record(ctx, s.Record)
		switch {
		case errors.Is(rec.err, ErrMissing): // repair has removed it, and nothing of it is needed any more
		case rec.err != nil:
			if err := m.unread(blobPath(s.Record), rec.err); err != nil {
				return err
			}
		case keep:
			m.need(rec.files...)
		}
	}
	return nil
}

// refs are builds that stay whatever their number.
func (m *marker) refs(ctx context.Context) error {
	for name, err := range m.c.List(ctx, refsFolder, "") {
		if err != nil {
			return err
		}
		b, _, err := m.c.ref(ctx, name)
		if err != nil {
			if err := m.unread(name, err); err != nil {
				return err
			}
			continue
		}
		_, d, err := b.Encode()
		if err != nil {
			return err
		}
		if err := m.build(ctx, namedBuild{b, d}, true); err != nil {
			return err
		}
	}
	return nil
}

// keys are what can go.
func (m *marker) keys(ctx context.Context) error {
	for name, err := range m.c.List(ctx, keysFolder, "") {
		if err != nil {
			return err
		}
		if err := m.pointer(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (m *marker) pointer(ctx context.Context, name string) error {
	val, _, err := m.c.Get(ctx, name)
	if errors.Is(err, ErrMissing) {
		return nil // deleted since it was listed
	}
	if err != nil {
		return err
	}
	d, err := ParseDigest(string(val))
	if err != nil {
		return m.unread(name, fmt.Errorf("%w: its value: %w", ErrDamaged, err))
	}
	rec := m.record(ctx, d)
	if rec.err != nil {
		return m.unread(name, rec.err)
	}
	if rec.key.Hex() != path.Base(name) {
		return m.unread(name, fmt.Errorf("%w: it leads to a record of %s", ErrDamaged, rec.key.Short()))
	}
	r := Result{Key: rec.key, LastUse: rec.ended, files: rec.files}
	if a := m.actions[rec.key]; a != nil {
		r.Kind = a.Kind
	}
	if used := m.lastUse[r.Key]; used.After(r.LastUse) {
		r.LastUse = used
	}
	fresh, err := m.fresh(ctx, name)
	switch {
	case err != nil:
		return err
	case m.names[r.Key.Digest()]:
		r.Need = NeedRunning
	case m.wanted[r.Key]:
		r.Need = NeedBuild
	case fresh:
		r.Need = NeedYoung
	}
	m.results = append(m.results, r)
	return nil
}

// history marks what lineage is made of: every record, by the names that list it.
func (m *marker) history(ctx context.Context) error {
	for _, folder := range []string{recordsFolder, runsFolder} {
		for name, err := range m.c.List(ctx, folder, "") {
			if err != nil {
				return err
			}
			d, err := ParseHex(path.Base(name))
			if err == nil {
				err = m.record(ctx, d).err
			} else {
				err = fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			if err != nil {
				if err := m.unread(name, err); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// inputs are people's own files that entered a stage as they were: they stay as long as a key that is wanted names them.
// The other inputs are outputs of other keys.
func (m *marker) inputs(context.Context) error {
	staying := maps.Clone(m.wanted)
	for _, r := range m.results {
		if r.Need != "" {
			staying[r.Key] = true
		}
	}
	for k := range staying {
		a := m.actions[k]
		if a == nil {
			continue
		}
		for _, d := range a.Inputs {
			if !m.outputs[d] {
				m.need(m.trees[d]...)
			}
		}
	}
	return nil
}

// blobs learns what there is. What nothing names yet stays while it is young, and for ever where it is an object of ours.
func (m *marker) blobs(ctx context.Context, sw Sweeper) error {
	var files = map[Digest]bool{} // of results and of what entered
	for _, t := range m.trees {
		for _, d := range t {
			files[d] = true
		}
	}
	for b, err := range sw.All(ctx) {
		if err != nil {
			return err
		}
		m.sizes[b.Digest] = b.Size
		if m.needed[b.Digest] {
			continue
		}
		fresh, err := m.fresh(ctx, blobPath(b.Digest))
		if err != nil {
			return err
		}
		if fresh {
			m.need(b.Digest)
		} else if !files[b.Digest] {
			if err := m.unnamed(ctx, b); err != nil {
				return err
			}
		}
	}
	for i := range m.results {
		r := &m.results[i]
		slices.SortFunc(r.files, func(a, b Digest) int { return strings.Compare(a.Hex(), b.Hex()) })
		r.files = slices.Compact(r.files)
		for _, d := range r.files {
			r.Bytes += m.sizes[d]
		}
	}
	return nil
}

// unnamed looks at a blob that no name leads to: a build that died has left it, or someone has removed a name. Records,
// actions, builds and manifests stay, and what describes an action with them.
func (m *marker) unnamed(ctx context.Context, b Blob) error {
	if b.Size > maxObject {
		return nil
	}
	text, err := m.c.GetBytes(ctx, b.Digest)
	if errors.Is(err, ErrMissing) || errors.Is(err, ErrDamaged) {
		return nil // nobody can want it
	}
	if err != nil {
		return err
	}
	if len(text) == 0 || text[0] != '{' {
		return nil
	}
	_, asRecord := DecodeRecord(text)
	_, asBuild := DecodeBuild(text)
	_, asManifest := DecodeManifest(text)
	if asRecord == nil || asBuild == nil || asManifest == nil {
		m.need(b.Digest)
	}
	if _, err := DecodeAction(text); err == nil {
		return m.action(ctx, Key(b.Digest), true)
	}
	return nil
}
