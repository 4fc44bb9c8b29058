package main

import (
	"context"
	"fmt"

	"github.com/Ruihan11/tiny-infra/artifacts/shared"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
)

// configured is --remote of `cache verify` without a value: whichever bucket is configured.
const configured = "configured"

// sharedVerification is what --remote, --tier, --quick and --repair ask for.
type sharedVerification struct {
	remote                string
	tiers                 []string
	quick, repair, asJSON bool
}

// verifiedTier is one tier, and what is wrong with it.
type verifiedTier struct {
	Place    string        `json:"place"`
	Problems []problemJSON `json:"problems"`
}

// verifyShared inspects the shared cache in place of this machine's: each tier that is read.
func (h *house) verifyShared(ctx context.Context, v sharedVerification) error {
	if v.remote != configured {
		h.app.remote = v.remote
	}
	h.tiers = v.tiers
	if err := h.joinToVerify(ctx, v.repair); err != nil {
		return err
	}
	found, err := h.inspectShared(ctx, v.quick)
	if err != nil {
		return err
	}
	if !v.repair || problems(found) == 0 {
		return h.tellShared(found, v)
	}
	if !v.asJSON {
		h.writeTiers(found, "")
	}
	mended, err := h.remote.Mend(ctx, found[0].Problems)
	if err != nil {
		return h.remoteTrouble(ctx, err)
	}
	left, err := h.inspectShared(ctx, v.quick)
	if err != nil {
		return err
	}
	if !v.asJSON {
		fmt.Fprintf(h.app.stdout, "%s sent again\n", view.Count(mended, "result"))
	}
	return h.tellShared(left, v)
}

// joinToVerify joins the shared cache; of tiers that were given by name, each must be there.
func (h *house) joinToVerify(ctx context.Context, repair bool) error {
	settings, err := h.remoteSettings()
	switch {
	case err != nil:
		return err
	case settings == nil:
		return usage("no shared cache is configured: name one by `remote \"s3\"` in tinfra.hcl, by --remote=s3://… or by TINFRA_REMOTE")
	}
	if repair {
		if err := readOnly(settings, "cache verify --repair"); err != nil {
			return err
		}
		if err := h.begin(); err != nil { // what is sent again must not be collected
			return err
		}
	}
	if err := h.join(ctx, repair); err != nil {
		return err
	}
	if len(h.tiers) > 0 && h.lacks != nil {
		return &failure{code: exitCache, err: h.lacks}
	}
	return nil
}

func (h *house) inspectShared(ctx context.Context, quick bool) ([]shared.Inspected, error) {
	line := h.app.passing()
	line.say("reading the shared cache")
	all, err := h.remote.Inspect(ctx, quick)
	line.end()
	if err != nil {
		return nil, h.remoteTrouble(ctx, err)
	}
	return all, nil
}

func problemsOf(all []*shared.Problem) []problemJSON {
	out := make([]problemJSON, len(all))
	for i, p := range all {
		out[i] = problemJSON{Name: p.Name, Kind: string(p.Kind), Detail: p.Detail, Builds: p.Builds}
	}
	return out
}

func problems(all []shared.Inspected) (n int) {
	for _, tier := range all {
		n += len(tier.Problems)
	}
	return n
}

// writeTiers names each tier, and what is wrong with it; well is said of those with which nothing is.
func (h *house) writeTiers(all []shared.Inspected, well string) {
	for _, tier := range all {
		switch {
		case len(tier.Problems) > 0:
			fmt.Fprintln(h.app.stdout, tier.Place)
			h.writeProblems(problemsOf(tier.Problems))
		case well != "":
			fmt.Fprintf(h.app.stdout, "%s: %s\n", tier.Place, well)
		}
	}
}

// tellShared says what is wrong with the shared cache, and what helps.
func (h *house) tellShared(found []shared.Inspected, v sharedVerification) error {
	if v.asJSON {
		tiers := make([]verifiedTier, len(found))
		for i, tier := range found {
			tiers[i] = verifiedTier{tier.Place, problemsOf(tier.Problems)}
		}
		if err := writeJSON(h.app.stdout, map[string]any{"tiers": tiers}); err != nil {
			return err
		}
	} else {
		well := "everything is as its digest says"
		if v.quick {
			well = "everything is there"
		}
		h.writeTiers(found, well)
	}
	n := problems(found)
	switch {
	case n > 0 && v.repair && len(found[0].Problems) == 0:
		return &failure{code: exitCache, err: fmt.Errorf("%s left in tiers that this machine only reads; --tier TIER --repair repairs another one", view.Count(n, "problem"))}
	case n > 0 && v.repair:
		return &failure{code: exitCache, err: fmt.Errorf("%s left in the shared cache: this machine does not have what is needed; "+
			"repair from one that does, or build the stages named with --force", view.Count(n, "problem"))}
	case n > 0:
		return &failure{code: exitCache, err: fmt.Errorf("%s in the shared cache; `tinfra cache verify --remote --repair` sends again what this machine has whole",
			view.Count(n, "problem"))}
	}
	return nil
}
