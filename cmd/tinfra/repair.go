package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/lineage"
)

// repairedJSON is what was done about a problem.
type repairedJSON struct {
	problemJSON
	Done artifacts.Repaired `json:"done"`
	Runs int                `json:"runs,omitempty"` // that used an environment which is removed now
}

// repair mends each problem. Absence is always safe: the stage that made it runs again. What could not be mended, such as an
// environment in use, is said at the end, and the others are mended all the same.
func (h *house) repair(ctx context.Context, found *findings, asJSON bool) error {
	done := []repairedJSON{}
	var errs []error
	count := map[artifacts.Repaired]int{}
	if !asJSON {
		h.writeProblems(found.Problems)
		h.writeProblems(found.Lost)
	}
	for _, p := range found.Problems {
		if !p.first {
			// A key is set to what a collection must then leave.
			if err := h.store.BeginBuild(); err != nil {
				return &failure{code: exitCache, err: errors.Join(append(errs, err)...)}
			}
		}
		did, err := p.mend(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		count[did]++
		done = append(done, repairedJSON{problemJSON: p, Done: did})
		if !asJSON {
			fmt.Fprintf(h.app.stdout, "%s  %s\n", did, p.Name)
		}
	}
	if len(found.Problems) > 0 { // the index may know what the cache no longer does
		errs = append(errs, lineage.Rebuild(ctx, h.indexPath(), h.cache), h.countRuns(ctx, done))
	}
	if asJSON {
		if err := writeJSON(h.app.stdout, map[string]any{"repaired": done, "lost": append([]problemJSON{}, found.Lost...)}); err != nil {
			return err
		}
	} else {
		if len(found.Problems) > 0 {
			h.tellRuns(done)
			h.tellRepaired(count)
		} else {
			fmt.Fprintln(h.app.stdout, "nothing to repair")
		}
	}
	if err := errors.Join(errs...); err != nil {
		return &failure{code: exitCache, err: err}
	}
	return nil
}

func (h *house) tellRepaired(count map[artifacts.Repaired]int) {
	w := h.app.stdout
	fmt.Fprintf(w, "%d removed, %d made again\n", count[artifacts.Removed], count[artifacts.Remade])
	if n := count[artifacts.Righted]; n > 0 {
		fmt.Fprintf(w, "%d set right by builds meanwhile\n", n)
	}
	if n := count[artifacts.GivenUp]; n > 0 {
		fmt.Fprintf(w, "%s of the history cannot be made again; what refers to it stays, and `tinfra cache verify` goes on to say so\n", view.Count(n, "piece"))
	}
}

// countRuns counts those in environments that are removed. Nobody knows since when they were damaged.
func (h *house) countRuns(ctx context.Context, done []repairedJSON) error {
	for i := range done {
		digest, ok := environmentIn(done[i].Name)
		if !ok {
			continue
		}
		condition, err := conditionOf(madeIn(digest))
		if err != nil {
			return err
		}
		x, err := h.freshIndex(ctx)
		if err != nil {
			return err
		}
		runs, err := x.Runs(ctx, lineage.Filter{Where: condition})
		if err != nil {
			return fmt.Errorf("counting what was made in %s: %w", done[i].Name, err)
		}
		done[i].Runs = len(runs)
	}
	return nil
}

func environmentIn(name string) (artifacts.Digest, bool) {
	hex, ok := strings.CutPrefix(name, envFolder)
	digest, err := artifacts.ParseHex(hex)
	return digest, ok && err == nil
}

// madeIn is the condition of runs that used an environment.
func madeIn(digest artifacts.Digest) string { return fmt.Sprintf("env == %q", digest) }

func (h *house) tellRuns(done []repairedJSON) {
	for _, d := range done {
		if d.Runs == 0 {
			continue
		}
		digest, _ := environmentIn(d.Name)
		fmt.Fprintf(h.app.stdout, "%s used %s; what is cached of that stays a hit, right or wrong: `tinfra runs --where '%s'` lists it, `tinfra build --force STAGE` makes it anew\n",
			view.Count(d.Runs, "run"), d.Name, madeIn(digest))
	}
}
