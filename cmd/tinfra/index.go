package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/lineage"
)

// archive is the cache's lineage, up to date.
type archive struct {
	*house
	index *lineage.Index
}

// openArchive opens the cache and its lineage index, and reads what the index does not know yet. path is --recipe.
func (a *app) openArchive(ctx context.Context, path string) (*archive, error) {
	h, err := a.openCache(path)
	if err != nil {
		return nil, err
	}
	x, err := h.openIndex(ctx)
	if err != nil {
		return nil, h.indexTrouble(ctx, err)
	}
	a.closers = append(a.closers, x.Close)
	if view.TerminalOf(a.stderr).Is {
		x.Progress = a.indexProgress()
	}
	err = x.Sync(ctx, h.cache)
	for _, note := range x.Notes() {
		fmt.Fprintln(a.stderr, "tinfra:", note)
	}
	if err == nil {
		err = h.tellSkipped(ctx, x)
	}
	if err != nil {
		return nil, h.indexTrouble(ctx, err)
	}
	return &archive{h, x}, nil
}

func (h *house) openIndex(ctx context.Context) (*lineage.Index, error) {
	return lineage.Open(ctx, h.indexPath())
}

func (h *house) indexPath() string { return filepath.Join(h.store.Dir(), lineage.FileName) }

func (h *house) indexTrouble(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &failure{code: exitCache, err: err}
}

// indexProgress tells a person who waits that the index is being made; a small one is made before anyone looks.
func (a *app) indexProgress() func(done, total int) {
	const many = 5000
	return func(done, total int) {
		if total < many {
			return
		}
		fmt.Fprintf(a.stderr, "\rreading %d of %d records and builds into the lineage index", done, total)
		if done == total {
			fmt.Fprint(a.stderr, "\r\x1b[K")
		}
	}
}

// tellSkipped names what could not be read: an answer without it is a poorer one.
func (h *house) tellSkipped(ctx context.Context, x *lineage.Index) error {
	const most = 3
	skipped, err := x.Skipped(ctx)
	for _, s := range skipped[:min(len(skipped), most)] {
		fmt.Fprintf(h.app.stderr, "tinfra: left out: %s: %s\n", s.Name, s.Problem)
	}
	if more := len(skipped) - most; more > 0 {
		fmt.Fprintf(h.app.stderr, "tinfra: left out: %d more; `tinfra cache verify` names them\n", more)
	}
	return err
}

// freshIndex is the index as it was brought up to date when first asked for: after a build there may be several who ask.
func (h *house) freshIndex(ctx context.Context) (*lineage.Index, error) {
	if h.fresh != nil {
		return h.fresh, nil
	}
	x, err := h.openIndex(ctx)
	if err != nil {
		return nil, err
	}
	if err := x.Sync(ctx, h.cache); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	h.fresh = x
	h.app.closers = append(h.app.closers, x.Close)
	return x, nil
}

// refreshTime bounds what a build spends on the index when it ends: a person waits, and the next question goes on.
const refreshTime = 5 * time.Second

// refreshIndex brings the index up to date after a build.
func (h *house) refreshIndex(ctx context.Context) error {
	tooLong := errors.New("it takes too long")
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), refreshTime, tooLong)
	defer cancel()
	_, err := h.freshIndex(ctx)
	if errors.Is(err, tooLong) {
		return nil
	}
	return err
}

// conditionOf reads --where.
func conditionOf(text string) (*lineage.Condition, error) {
	if text == "" {
		return nil, nil
	}
	c, err := lineage.ParseCondition(text)
	return c, asMistakes(err)
}

// asMistakes shows a wrong condition with its snippet.
func asMistakes(err error) error {
	var wrong *lineage.ConditionError
	if errors.As(err, &wrong) {
		return &mistakes{wrong.Diagnostics, map[string]*hcl.File{lineage.ConditionName: wrong.File}}
	}
	return err
}

// recipePathOf is the recipe as builds keep it; "" where the verb was given none and the folder has none.
func (h *house) recipePathOf() string {
	if h.recipePath == "" {
		return ""
	}
	return h.recordedPath(h.recipePath)
}

// buildOf completes --build; without it, it is the last build that has the address.
func (r *archive) buildOf(ctx context.Context, build, address string, s lookup) (string, error) {
	if build != "" {
		id, err := r.index.FindBuild(ctx, build)
		if errors.Is(err, lineage.ErrUnknown) {
			return "", usage("%w", err)
		}
		return id, err
	}
	id, err := r.index.LastBuild(ctx, address, r.recipePathOf())
	if errors.Is(err, lineage.ErrUnknown) && s.recipe == "" { // a recipe that lies here by chance
		id, err = r.index.LastBuild(ctx, address, "")
	}
	if !errors.Is(err, lineage.ErrUnknown) {
		return id, err
	}
	return "", r.noStage(ctx, address, s)
}

// noStage says that no build holds a stage, and which stages the last one has.
func (r *archive) noStage(ctx context.Context, address string, s lookup) error {
	path := r.recipePathOf()
	id, err := r.index.LastBuild(ctx, "", path)
	if errors.Is(err, lineage.ErrUnknown) && s.recipe == "" {
		id, err = r.index.LastBuild(ctx, "", "")
	}
	if errors.Is(err, lineage.ErrUnknown) {
		return usage("nothing was built yet in %s", r.store.Dir())
	}
	if err != nil {
		return err
	}
	b, err := r.index.Build(ctx, id)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(b.Steps))
	for _, step := range b.Steps {
		names = append(names, step.Address)
	}
	return usage("no build has a stage %s; the last one, %s, has: %s", address, id, strings.Join(names, ", "))
}

// runsAt are the runs of an address, or of what belongs to it, in one build.
func (r *archive) runsAt(ctx context.Context, address, build string, s lookup) ([]lineage.Run, error) {
	id, err := r.buildOf(ctx, build, address, s)
	if err != nil {
		return nil, err
	}
	runs, err := r.index.Runs(ctx, lineage.Filter{Build: id, Address: address})
	if err != nil || len(runs) > 0 {
		return runs, err
	}
	b, err := r.index.Build(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, step := range b.Steps {
		if covers(address, step.Address) {
			if !step.Record.IsZero() { // the cache does not list it, or it cannot be read
				return nil, &failure{code: exitCache, err: fmt.Errorf("the record of %s in build %s is %w; `tinfra cache verify` names what is damaged",
					step.Address, id, artifacts.ErrMissing)}
			}
			return nil, usage("%s has no record in build %s: it is %s (%s)", step.Address, id, step.State, step.Reason)
		}
	}
	return nil, usage("build %s has no stage %s", id, address)
}

// digestNamed is what the beginning of a digest stands for. One that is both a record and more is never taken for either.
func (r *archive) digestNamed(ctx context.Context, text string) (*lineage.Found, error) {
	if !isDigest(text) {
		return nil, usage("%q is no stage and no digest", text)
	}
	f, err := r.index.Find(ctx, text)
	switch {
	case err != nil:
		return nil, err
	case f.Len() == 0:
		return nil, usage("no artifact, record or key in %s begins with %q", r.store.Dir(), text)
	case f.Len() > 1:
		var names []string
		for _, d := range slices.Concat(f.Artifacts, f.Records, f.Keys) {
			names = append(names, d.Short())
		}
		return nil, usage("%q is the beginning of several digests: %s; say more of it", text, strings.Join(names, ", "))
	}
	return f, nil
}

// runOf is the run of a record, or the last one of a key.
func (r *archive) runOf(ctx context.Context, f *lineage.Found) (*lineage.Run, error) {
	filter := lineage.Filter{Records: f.Records}
	if len(f.Keys) == 1 {
		filter = lineage.Filter{Key: artifacts.Key(f.Keys[0])}
	}
	runs, err := r.index.Runs(ctx, filter)
	if err != nil || len(runs) == 0 {
		return nil, err
	}
	return &runs[0], nil
}
