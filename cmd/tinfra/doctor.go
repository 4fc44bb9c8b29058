package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
	"github.com/Ruihan11/tiny-infra/artifacts/s3"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// What a check can come to.
const (
	sound  = "ok"
	lacks  = "lacks"  // something that not every recipe or bucket needs
	failed = "failed" // nothing can be built, or shared, until it is mended
)

// checkJSON is one thing that doctor has looked at.
type checkJSON struct {
	Name    string  `json:"name"`
	Result  string  `json:"result"`
	Detail  string  `json:"detail"`
	Seconds float64 `json:"seconds,omitempty"`
}

// examination is what doctor finds.
type examination struct {
	*house
	offline bool
	Checks  []checkJSON       `json:"checks"`
	Facts   map[string]string `json:"facts"` // of this machine, as stages are planned with; disk.free_gib besides
	Kinds   []kindLacksJSON   `json:"kinds"`
	Bucket  *bucket.Format    `json:"bucket,omitempty"` // what the shared cache says of itself from now on
}

func newDoctor(a *app) *cobra.Command {
	var asJSON, offline bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look whether this machine and the shared cache are fit for builds",
		Long: `doctor looks whether the cache can be written to and locked, what this machine has (memory, disk, GPUs, their driver and CUDA, nvcc), which
Python environments it has or could have, and what each kind of stage still lacks here. Where a shared cache is configured it looks what its bucket can do: reading back what was written, ranges, listing, and above all that of many
who create or replace the same name at once one wins. It writes below the shared cache's own folder only, and removes that again.
What it finds stands in the shared cache from then on; it begins one where there is none. Where the shared cache is read_only it only
reads. Exit code 5 says that something failed; what only lacks does not count. With --offline no network is asked, and what would need one is lacking.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.openHouse("")
			if err != nil {
				return err
			}
			x := &examination{house: h, offline: offline, Checks: []checkJSON{}}
			if err := x.examine(cmd.Context()); err != nil {
				return err
			}
			return x.tell(asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	cmd.Flags().BoolVar(&offline, "offline", false, "reach for no network: say what this machine can run without one")
	a.singleWriting(cmd)
	return cmd
}

func (x *examination) note(name, result, detail string) {
	x.Checks = append(x.Checks, checkJSON{Name: name, Result: result, Detail: detail})
}

func (x *examination) examine(ctx context.Context) error {
	if err := x.store.Writable(); err != nil {
		x.note("cache", failed, err.Error())
	} else {
		x.note("cache", sound, x.store.Dir()+" can be written to and locked")
	}
	if err := x.examineMachine(ctx); err != nil {
		return err
	}
	had, err := x.examineEnvironments(ctx)
	if err != nil {
		return err
	}
	x.examineKinds(had)
	settings, err := x.remoteSettings()
	if err != nil {
		return err
	}
	switch {
	case settings == nil:
		x.note("shared cache", sound, "none is configured")
		return nil
	case x.offline:
		x.note("shared cache", sound, "not asked: --offline")
		return nil
	}
	return x.examineRemote(ctx, settings)
}

// examineRemote probes the bucket and says so in it.
func (x *examination) examineRemote(ctx context.Context, r *recipe.Remote) error {
	client, err := connect(ctx, r)
	if err != nil {
		return err
	}
	own := client.Below(r.Tier)
	if r.ReadOnly {
		return x.examineReading(ctx, client, r)
	}
	p, err := bucket.Renew(ctx, own, bucket.Settings{SingleWriter: r.SingleWriter, Note: notes(own, x.heard)})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, artifacts.ErrUnreachable), errors.Is(err, artifacts.ErrRefused): // it says where by itself
		x.note("shared cache", failed, err.Error())
		return nil
	case err != nil:
		x.note("shared cache", failed, fmt.Sprintf("%s: %v", own, err))
		return nil
	}
	f := p.Format()
	x.Bucket = &f
	x.note("shared cache", sound, fmt.Sprintf("%s: format %d", own, f.Number))
	for _, tier := range r.Reads {
		x.examineTier(ctx, client.Below(tier), tier)
	}
	return nil
}

// examineReading looks at what may only be read: nothing is written. The first tier that was begun stands for the bucket.
func (x *examination) examineReading(ctx context.Context, client *s3.Client, r *recipe.Remote) error {
	probed := false
	for _, tier := range append([]string{r.Tier}, r.Reads...) {
		at := client.Below(tier)
		if !x.examineTier(ctx, at, tier) || probed {
			continue
		}
		probed = true
		if err := at.ProbeReading(ctx, bucket.FormatName, x.heard); err != nil {
			x.note("shared cache", failed, err.Error())
			continue
		}
		x.note("shared cache", sound, at.String()+": it can be read; it is read_only for this machine")
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !probed {
		x.note("shared cache", failed, "none of its tiers can be read; it is read_only for this machine, and another one has to begin it")
	}
	return nil
}

// heard takes down a check of the probe. That one was not passed is not yet a failure: whether the bucket can be used is for the format to say.
func (x *examination) heard(c s3.Check) {
	result := sound
	if !c.OK {
		result = lacks
	}
	x.Checks = append(x.Checks, checkJSON{"bucket: " + c.Name, result, c.Detail, c.Took.Seconds()})
}

// examineTier tells whether it can be read.
func (x *examination) examineTier(ctx context.Context, at *s3.Client, tier string) bool {
	name := "tier " + tier
	switch _, err := bucket.Open(ctx, at, bucket.Settings{}); {
	case errors.Is(err, bucket.ErrNoFormat):
		x.note(name, lacks, "nobody has written to it yet")
	case err != nil:
		x.note(name, failed, err.Error())
	default:
		x.note(name, sound, "can be read")
		return true
	}
	return false
}

func (x *examination) tell(asJSON bool) error {
	var bad []string
	rows := make([][]string, 0, len(x.Checks))
	for _, c := range x.Checks {
		took := ""
		if c.Seconds > 0 {
			took = view.Duration(time.Duration(c.Seconds * float64(time.Second)))
		}
		rows = append(rows, []string{c.Name, c.Result, took, view.Printable(c.Detail)})
		if c.Result == failed {
			bad = append(bad, c.Name)
		}
	}
	var err error
	if asJSON {
		err = writeJSON(x.app.stdout, x)
	} else {
		err = view.Table(x.app.stdout, []string{"CHECK", "RESULT", "TIME", "DETAIL"}, rows)
		if err == nil {
			err = x.tellKinds()
		}
	}
	if err != nil || len(bad) == 0 {
		return err
	}
	return &failure{code: exitCache, err: fmt.Errorf("not fit: %s", strings.Join(bad, ", "))}
}
