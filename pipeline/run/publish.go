package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// Labels that the core knows.
const (
	LabelSynthetic = "synthetic" // inherited from inputs: numbers about such a model mean nothing
	LabelProtocol  = "protocol"  // fingerprint of how something was measured; not inherited
)

// adoptedFile says which outputs of a workspace were moved into the store already, so that a build that dies between two of
// them loses none.
const adoptedFile = "adopted.json"

// adopt takes the outputs out of the worker's reach: into memory where they are small, else into the store. What was read stays in
// the workspace too, so a build that dies before it is published has lost nothing.
func (b *builder) adopt(ctx context.Context, t *task, a *artifacts.Action, at *attempt, r *protocol.Result, reused map[string][]artifacts.File, m *made) error {
	labels, err := b.labels(ctx, a, r)
	if err != nil {
		return err
	}
	t.labels = labels
	noted := readAdopted(at.ws.Dir)
	m.outputs = maps.Clone(noted)
	for i := range t.step.Node.Stage.Kind.Outputs {
		o := &t.step.Node.Stage.Kind.Outputs[i]
		if noted[o.Name] != nil {
			continue
		}
		dir := filepath.Join(at.ws.Dir, protocol.OutDir, o.Name)
		is := artifacts.Manifest{Type: a.Outputs[o.Name], Labels: labels, Files: reused[o.Name]}
		if o.Result() {
			is.Labels = plan.FitsAnywhere(labels)
		}
		out, stored, err := b.adoptOne(b.storing(ctx, t, o.Name), m, o, dir, is)
		if err != nil {
			return err
		}
		if out == nil {
			continue
		}
		m.outputs[o.Name] = out
		if !stored {
			continue
		}
		noted[o.Name] = out
		if err := writeAdopted(at.ws.Dir, noted); err != nil {
			return err
		}
		artifacts.Reached(artifacts.StepWorkNoted)
		if err := b.o.Adopter.Noted(dir); err != nil {
			return cacheTrouble{err}
		}
	}
	return nil
}

// adoptOne gives nil for an optional output that was not made. is what is known of it beforehand, the files that it reuses among it.
func (b *builder) adoptOne(ctx context.Context, m *made, o *stages.Output, dir string, is artifacts.Manifest) (out *artifacts.Manifest, stored bool, err error) {
	full, err := hasFiles(dir)
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("output %s: %w", o.Name, err)
	case !full && len(is.Files) > 0:
		return &is, false, withReused(&is, nil)
	case !full && o.Optional:
		return nil, false, nil
	case !full:
		return nil, false, fmt.Errorf("the worker made no %s: %s/%s is empty", o.Name, protocol.OutDir, o.Name)
	}
	if out, err = b.read(ctx, m, dir, is.Type, is.Labels); out == nil && err == nil {
		stored = true
		out, err = b.o.Adopter.AdoptTree(ctx, dir, is.Type, is.Labels)
	}
	if err == nil && len(is.Files) > 0 {
		err = withReused(out, is.Files)
	}
	if err != nil {
		return nil, false, fmt.Errorf("%w (storing output %s)", err, o.Name) // the reason first: a table shows no more
	}
	return out, stored, nil
}

// readAdopted gives the manifests of the outputs whose files are in the store already.
func readAdopted(ws string) map[string]*artifacts.Manifest {
	taken := map[string]*artifacts.Manifest{}
	var stored map[string]json.RawMessage
	text, err := protocol.ReadFile(filepath.Join(ws, adoptedFile), maxNote)
	if err != nil || json.Unmarshal(text, &stored) != nil {
		return taken
	}
	for port, code := range stored {
		if m, err := artifacts.DecodeManifest(code); err == nil {
			taken[port] = m
		}
	}
	return taken
}

func writeAdopted(ws string, taken map[string]*artifacts.Manifest) error {
	stored := map[string]json.RawMessage{}
	for port, m := range taken {
		code, _, err := m.Encode()
		if err != nil {
			return fmt.Errorf("noting what is stored: %w", err)
		}
		stored[port] = code
	}
	return writeNotes(ws, stored)
}

// recordNote is the place among the notes of the record that is about to be published; no port is called so.
const recordNote = "/record"

// noteRecord keeps rec in the workspace. Where a build died while it published, the next one finds its record there
// and publishes that: one run leaves one record, whatever it took to write it down. Where its log is not stored, it is not
// either: that goes first.
func (b *builder) noteRecord(ctx context.Context, ws string, rec *artifacts.Record) (*artifacts.Record, error) {
	stored := map[string]json.RawMessage{}
	text, err := protocol.ReadFile(filepath.Join(ws, adoptedFile), maxNote)
	if err == nil {
		err = json.Unmarshal(text, &stored)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading what is stored: %w", err)
	}
	if code := stored[recordNote]; code != nil {
		old, err := artifacts.DecodeRecord(code)
		if err == nil && old.Key == rec.Key && maps.Equal(old.Outputs, rec.Outputs) {
			if err := b.o.Cache.Hold(ctx, old.Log); err != nil {
				return nil, cacheTrouble{err}
			}
			if _, err := b.o.Cache.Kept(ctx, old.Log); err == nil {
				return old, nil
			}
		}
	}
	code, _, err := rec.Encode()
	if err != nil {
		return nil, fmt.Errorf("noting the record: %w", err)
	}
	stored[recordNote] = code
	if err := writeNotes(ws, stored); err != nil {
		return nil, err
	}
	artifacts.Reached(artifacts.StepWorkNoted)
	return rec, nil
}

func writeNotes(ws string, notes map[string]json.RawMessage) error {
	text, err := json.Marshal(notes)
	if err != nil {
		return fmt.Errorf("noting what is stored: %w", err)
	}
	at := filepath.Join(ws, adoptedFile)
	if err := os.WriteFile(at+".part", text, 0o600); err != nil {
		return fmt.Errorf("noting what is stored: %w", err)
	}
	if err := os.Rename(at+".part", at); err != nil {
		return fmt.Errorf("noting what is stored: %w", err)
	}
	return nil
}

// labels are the worker's own and those that descend from inputs.
func (b *builder) labels(ctx context.Context, a *artifacts.Action, r *protocol.Result) (map[string]string, error) {
	labels := b.redact.cleanAll(r.Labels)
	for port, d := range a.Inputs {
		m, err := b.o.Cache.Manifest(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("reading input %s: %w", port, err)
		}
		if v, ok := m.Labels[LabelSynthetic]; ok {
			if labels == nil {
				labels = map[string]string{}
			}
			if labels[LabelSynthetic] == "" {
				labels[LabelSynthetic] = v
			}
		}
	}
	return labels, nil
}

// publish writes the record of a worker's success. The log is stored before, so it ends with what the worker said.
func (b *builder) publish(ctx context.Context, t *task, a *artifacts.Action, at *attempt, r *protocol.Result, m *made) error {
	entry, err := b.pin(ctx, t, r, m.outputs)
	if err != nil {
		return err
	}
	if entry != nil {
		a = t.step.Action
	}
	action, key, err := a.Part()
	if err != nil {
		return err
	}
	log := artifacts.LogPart(t.report.log.encode())
	rec := &artifacts.Record{
		Key: key, Outputs: map[string]artifacts.Digest{}, Metrics: r.Metrics, Observed: b.observed(t, at, r),
		Log: log.Digest, Builder: b.o.Builder, Started: at.started, Ended: at.ended,
	}
	var size int64
	parts := m.files // before the manifests that name them
	for port, out := range m.outputs {
		part, err := out.Part()
		if err != nil {
			return fmt.Errorf("encoding output %s: %w", port, err)
		}
		rec.Outputs[port] = part.Digest
		parts = append(parts, part)
		size += out.Size()
	}
	if err := b.compare(ctx, t, rec); err != nil {
		return err
	}
	if rec, err = b.noteRecord(ctx, at.ws.Dir, rec); err != nil {
		return err
	}
	if !at.heavy {
		t.vacate() // what follows waits for the disk, and needs nothing that another stage could wait for
	}
	won, digest, err := b.o.Cache.Publish(artifacts.Unhurried(ctx, b.pool.served()), rec, append(parts, action, log)...)
	if err != nil {
		return cacheTrouble{err}
	}
	t.log = log.Digest
	b.dropCheckpoints(t)
	if entry != nil && b.o.Lock != nil {
		if err := b.o.Lock.Add(ctx, entry); err != nil {
			return lockTrouble{fmt.Errorf("writing the lock: %w", err)}
		}
		artifacts.Reached(artifacts.StepWorkPinned)
	}
	t.record, t.digest, t.seconds = won, digest, at.ended.Sub(at.started).Seconds()
	t.report.say(event.Event{Type: event.Stored, Outputs: digests(won), Metrics: won.Metrics, Observed: won.Observed, Bytes: size})
	return nil
}

func digests(r *artifacts.Record) map[string]string {
	out := map[string]string{}
	for port, d := range r.Outputs {
		out[port] = d.String()
	}
	return out
}

func (b *builder) observed(t *task, at *attempt, r *protocol.Result) map[string]string {
	seen := b.redact.cleanAll(r.Observed)
	if seen == nil {
		seen = map[string]string{}
	}
	seen["attempts"] = strconv.Itoa(t.tried)
	seen["peak_memory_bytes"] = strconv.FormatInt(at.exit.MaxRSS, 10)
	seen["cpu_seconds"] = strconv.FormatFloat(at.exit.CPUSeconds, 'f', 3, 64)
	seen["isolation"] = at.exit.Isolation
	if at.found {
		seen["reattached"] = "true"
	}
	delete(seen, observedResumed)
	if at.resumed {
		seen[observedResumed] = "true"
	}
	if at.gpus > 0 {
		seen["gpus"] = strconv.Itoa(at.gpus)
	}
	return seen
}

// compare looks at what an earlier run of the same Action gave, where there was one. Where its files are gone, it cannot stay.
func (b *builder) compare(ctx context.Context, t *task, rec *artifacts.Record) error {
	old, digest, err := b.o.Cache.Lookup(ctx, rec.Key)
	lost := errors.Is(err, artifacts.ErrMissing) && t.was != nil && t.was.gone
	switch {
	case lost:
		old, digest = t.was.record, t.was.digest
	case errors.Is(err, artifacts.ErrMissing):
		return nil
	case err != nil:
		return cacheTrouble{err}
	}
	if maps.Equal(old.Outputs, rec.Outputs) {
		return nil
	}
	exact := t.step.Node.Stage.Kind.Determinism == stages.Exact
	if lost && exact {
		t.report.warn(fmt.Sprintf("kind %s is declared exact, but this run made other bytes than record %s, whose files are gone",
			t.step.Node.Stage.Kind.Name, digest.Short()))
	}
	if lost || !exact {
		rec.Observed["diverged_from"] = digest.String()
		return nil
	}
	var differ []string
	for _, port := range slices.Sorted(maps.Keys(rec.Outputs)) {
		if old.Outputs[port] != rec.Outputs[port] {
			differ = append(differ, fmt.Sprintf("%s is %s, was %s", port, rec.Outputs[port].Short(), old.Outputs[port].Short()))
		}
	}
	return fmt.Errorf("kind %s is declared exact, but this run made other bytes than record %s: %s; the earlier result stays",
		t.step.Node.Stage.Kind.Name, digest.Short(), few(differ))
}

// pin compares a download with the lock, or learns what the lock shall say.
func (b *builder) pin(ctx context.Context, t *task, r *protocol.Result, outputs map[string]*artifacts.Manifest) (*recipe.Source, error) {
	s := t.step
	if s.Source == "" {
		return nil, nil
	}
	var got []recipe.Pin
	for _, o := range s.Node.Stage.Kind.Outputs {
		if m := outputs[o.Name]; o.Pinned && m != nil {
			for _, f := range m.Files {
				got = append(got, recipe.Pin{Path: f.Path, SHA256: f.Digest.Hex(), Size: f.Size})
			}
		}
	}
	if s.Pins != nil {
		return nil, samePins(s, got)
	}
	if len(got) == 0 {
		return nil, fmt.Errorf("the worker brought nothing that could be locked")
	}
	entry := &recipe.Source{Source: s.Source, Resolved: b.redact.cleanAll(r.Resolved), Files: got}
	if err := b.plan.SettlePins(ctx, s, got); err != nil {
		return nil, err
	}
	if s.Action == nil {
		return nil, fmt.Errorf("%s", s.Reason)
	}
	return entry, nil
}

func samePins(s *plan.Step, got []recipe.Pin) error {
	want := map[string]recipe.Pin{}
	for _, p := range s.Pins {
		want[p.Path] = p
	}
	var differ []string
	for _, p := range got {
		switch w, ok := want[p.Path]; {
		case !ok:
			differ = append(differ, p.Path+" is not in the lock")
		case w != p:
			differ = append(differ, fmt.Sprintf("%s has sha256 %s, the lock says %s", p.Path, p.SHA256, w.SHA256))
		}
		delete(want, p.Path)
	}
	for _, path := range slices.Sorted(maps.Keys(want)) {
		differ = append(differ, path+" is missing")
	}
	if len(differ) == 0 {
		return nil
	}
	return fmt.Errorf("the download is not what the lock pins: %s; if the source was changed on purpose, run `tinfra lock --update`", few(differ))
}
