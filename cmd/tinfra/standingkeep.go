package main

import (
	"context"
	"os"
	"strconv"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// remember keeps what the next build of the same request may stand on. Where something speaks against that nothing is kept,
// and the next build reads the recipe again.
func (o *outcome) remember(ctx context.Context, name artifacts.Digest, began time.Time) {
	t := o.site
	if o.build == nil || o.build.Exit != exitOK || t.hasSecrets() {
		return
	}
	s := &standing{standingNote: standingNote{
		Facts: map[string]*string{}, Environments: map[string]artifacts.Digest{}, Values: o.values(ctx), Orders: map[string][]string{},
		Reports: len(t.recipe.Reports) > 0, Compared: o.compared,
		Build: artifacts.Build{
			Recipe: o.build.Recipe, RecipePath: o.build.RecipePath, Modules: o.build.Modules, Variables: o.build.Variables,
			Targets: o.build.Targets, Lock: o.build.Lock,
		},
	}}
	carrier := t.known.carrier(s)
	for _, step := range o.build.Steps {
		if !o.addStage(ctx, s, step, carrier.carry(step), began) {
			return
		}
	}
	for _, d := range s.texts() {
		t.app.reads.FileRead(t.store.BlobFile(d), began, d)
	}
	var whole, all bool
	s.Loaded, whole = t.loading.Readings()
	s.Readings, all = t.app.reads.Readings()
	if !whole || !all || !carrier.addReadings() {
		return
	}
	s.Snapshot, s.Kinds = t.keepRecipe(name), t.kindFolders()
	s.keep(t.house, name)
}

func (s *standing) keep(h *house, name artifacts.Digest) {
	if b, err := s.encode(); err == nil {
		h.store.Remember(name, s.Build.RecipePath, b)
	}
}

// hasSecrets: what knows a secret is never told without looking for it.
func (t *site) hasSecrets() bool {
	if run.HasCredentials(os.Environ()) {
		return true
	}
	for _, s := range t.plan.Steps {
		if len(s.Node.Stage.Secrets) > 0 {
			return true
		}
	}
	return false
}

// addStage is false for a stage whose result cannot be stood on. one is what was known of it, or nil.
func (o *outcome) addStage(ctx context.Context, s *standing, step artifacts.Step, one *stood, began time.Time) bool {
	t := o.site
	planned := t.plan.Step(step.Address)
	if planned == nil || planned.Record == nil || planned.RecordDigest != step.Record || step.Key.IsZero() {
		return false
	}
	if t.remote != nil && !t.everywhere(step) {
		return false
	}
	kind := planned.Node.Stage.Kind
	if one == nil {
		if one = o.stand(ctx, s, step, planned.Record, began); one == nil {
			return false
		}
	}
	for _, name := range append(append([]string{}, kind.Facts...), kind.OptionalFacts...) {
		s.Facts[name] = nil
		if v, ok := t.facts[name]; ok {
			s.Facts[name] = &v
		}
	}
	if planned.Action != nil && !planned.Action.Env.IsZero() {
		name, err := planned.Node.Stage.Env()
		if err != nil {
			return false
		}
		s.Environments[name] = planned.Action.Env
	}
	if _, told := s.Orders[step.Kind]; !told {
		s.Orders[step.Kind] = metricNames(kind)
	}
	s.Stages = append(s.Stages, *one)
	return true
}

// everywhere: the result of a step is on this machine, and is known to be where other machines find it, or will not come there from here.
func (t *site) everywhere(step artifacts.Step) bool {
	_, err := os.Stat(t.store.KeyFile(step.Key))
	return err == nil && (t.writes == nil || t.remote.Confirmed(step.Record))
}

// stand takes down what is read of a stage's result; nil where that cannot be read.
func (o *outcome) stand(ctx context.Context, s *standing, step artifacts.Step, rec *artifacts.Record, began time.Time) *stood {
	t := o.site
	row, err := o.row(ctx, step)
	if err != nil {
		return nil
	}
	one := &stood{
		Hit: run.Hit{
			Address: step.Address, Kind: step.Kind, Key: step.Key, Record: step.Record, Log: rec.Log,
		},
		Metrics: rec.Metrics, Builder: rec.Builder, Started: rec.Started, Ended: rec.Ended, PeakBytes: row.PeakBytes, Size: row.Size, Synthetic: row.Synthetic,
	}
	rest := stoodRest{Outputs: rec.Outputs, Observed: rec.Observed}
	reads := t.app.reads
	reads.FileRead(t.store.KeyFile(step.Key), began, artifacts.Sum([]byte(step.Record.String())))
	reads.FileRead(t.store.BlobFile(step.Key.Digest()), began, step.Key.Digest())
	reads.FileRead(t.store.BlobFile(step.Record), began, step.Record)
	for _, d := range rec.Outputs {
		reads.FileRead(t.store.BlobFile(d), began, d)
		m, err := o.manifest(ctx, d)
		if err != nil {
			return nil
		}
		for _, f := range m.Files {
			rest.Files = append(rest.Files, s.Blobs.place(f.Blob))
		}
	}
	one.rest = rest.pack()
	return one
}

// requestName is of what the person asked for and what is not read to answer it; ok is false for what is never repeated.
func (b *building) requestName(h *house, path string) (_ artifacts.Digest, ok bool) {
	s := &b.selection
	program, ok := programIdentity()
	here, err := os.Getwd()
	if !ok || err != nil || len(s.force) > 0 || b.update {
		return artifacts.Digest{}, false
	}
	remote := ""
	if !b.alone {
		if remote, err = h.remoteName(); err != nil {
			return artifacts.Digest{}, false
		}
	}
	text, err := artifacts.JCS(map[string]any{
		"format": strconv.Itoa(standingFormat), "program": program, "folder": here, "recipe": path, "cache": h.store.Dir(),
		"targets": orNone(s.targets), "vars": orNone(s.vars), "varFiles": orNone(s.varFiles), "set": orNone(s.set),
		"locked": b.locked, "offline": b.offline, "remote": remote, "user": strconv.Itoa(os.Getuid()),
	})
	return artifacts.Sum(text), err == nil
}

func orNone(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
