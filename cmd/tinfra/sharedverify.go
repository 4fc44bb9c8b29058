package main

import (
	"context"
	"fmt"

	"github.com/Ruihan11/tiny-infra/artifacts/shared"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
)

// configured is --remote of `cache verify` without a value: whichever bucket is configured.
const configured = "configured"

// sharedVerification is what --remote, --quick and --repair ask for.
type sharedVerification struct {
	remote                string
	quick, repair, asJSON bool
}

// verifyShared inspects the shared cache in place of this machine's.
func (h *house) verifyShared(ctx context.Context, v sharedVerification) error {
	if v.remote != configured {
		h.app.remote = v.remote
	}
	if v.repair {
		settings, err := h.remoteSettings()
		if err == nil {
			err = readOnly(settings, "cache verify --repair")
		}
		if err != nil {
			return err
		}
		if err := h.begin(); err != nil { // what is sent again must not be collected
			return err
		}
	}
	if err := h.join(ctx, v.repair); err != nil {
		return err
	}
	if h.remote == nil {
		return usage("no shared cache is configured: name one by `remote \"s3\"` in tinfra.hcl, by --remote=s3://… or by TINFRA_REMOTE")
	}
	problems, err := h.inspectShared(ctx, v.quick)
	if err != nil {
		return err
	}
	if !v.repair || len(problems) == 0 {
		return h.tellShared(problems, v)
	}
	if !v.asJSON {
		h.writeProblems(problemsOf(problems))
	}
	mended, err := h.remote.Mend(ctx, problems)
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

func (h *house) inspectShared(ctx context.Context, quick bool) ([]*shared.Problem, error) {
	line := h.app.passing()
	line.say("reading the shared cache")
	problems, err := h.remote.Inspect(ctx, quick)
	line.end()
	if err != nil {
		return nil, h.remoteTrouble(ctx, err)
	}
	return problems, nil
}

func problemsOf(all []*shared.Problem) []problemJSON {
	out := make([]problemJSON, len(all))
	for i, p := range all {
		out[i] = problemJSON{Name: p.Name, Kind: string(p.Kind), Detail: p.Detail, Builds: p.Builds}
	}
	return out
}

// tellShared says what is wrong with the shared cache, and what helps.
func (h *house) tellShared(problems []*shared.Problem, v sharedVerification) error {
	if v.asJSON {
		if err := writeJSON(h.app.stdout, &findings{Problems: problemsOf(problems)}); err != nil {
			return err
		}
	} else {
		h.writeProblems(problemsOf(problems))
	}
	n := len(problems)
	switch {
	case n > 0 && v.repair:
		return &failure{code: exitCache, err: fmt.Errorf("%s left in the shared cache: this machine does not have what is needed; "+
			"repair from one that does, or build the stages named with --force", view.Count(n, "problem"))}
	case n > 0:
		return &failure{code: exitCache, err: fmt.Errorf("%s in the shared cache; `tinfra cache verify --remote --repair` sends again what this machine has whole",
			view.Count(n, "problem"))}
	case !v.asJSON && v.quick:
		fmt.Fprintln(h.app.stdout, "everything is there")
	case !v.asJSON:
		fmt.Fprintln(h.app.stdout, "everything is as its digest says")
	}
	return nil
}
