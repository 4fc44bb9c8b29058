package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
	"github.com/Ruihan11/tiny-infra/artifacts/s3"
	"github.com/Ruihan11/tiny-infra/artifacts/shared"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// noRemote is what --remote and TINFRA_REMOTE say where no bucket shall be asked.
const noRemote = "none"

// remoteSettings is --remote, else TINFRA_REMOTE, else what tinfra.hcl says; nil where there is no shared cache. TINFRA_TIER takes the
// place of the tier, unless --remote names one.
func (h *house) remoteSettings() (*recipe.Remote, error) {
	given, from := h.app.remote, "--remote"
	if given == "" {
		given, from = os.Getenv("TINFRA_REMOTE"), "TINFRA_REMOTE"
	}
	r := h.project.Remote
	switch {
	case given == noRemote, given == "" && r == nil:
		return nil, nil
	case given != "":
		var err error
		if r, err = recipe.ParseRemote(given); err != nil {
			return nil, usage("%s: %w", from, err)
		}
	}
	one := *r
	if tier := os.Getenv("TINFRA_TIER"); tier != "" && (h.app.remote == "" || one.Tier == "") {
		if err := recipe.CheckTier(tier); err != nil {
			return nil, usage("TINFRA_TIER: %w", err)
		}
		one.Tier = tier
	}
	for _, tier := range h.tiers {
		if err := recipe.CheckTier(tier); err != nil {
			return nil, usage("--tier: %w", err)
		}
	}
	if len(h.tiers) > 0 {
		one.Tier, one.Reads = h.tiers[0], h.tiers[1:]
	}
	one.Tier = cmp.Or(one.Tier, recipe.DefaultTier)
	one.Reads = slices.DeleteFunc(slices.Clone(one.Reads), func(tier string) bool { return tier == one.Tier })
	one.SingleWriter = one.SingleWriter || h.app.singleWriter
	return &one, nil
}

// remoteName tells one shared cache from another; "" for none.
func (h *house) remoteName() (string, error) {
	r, err := h.remoteSettings()
	if r == nil || err != nil {
		return "", err
	}
	name, err := artifacts.JCS(map[string]any{"endpoint": r.Endpoint, "bucket": r.Bucket, "prefix": r.Prefix, "tiers": append([]string{r.Tier}, r.Reads...),
		"read_only": r.ReadOnly})
	return string(name), err
}

// singleWriting adds the flag by which a person vouches for a bucket without conditions.
func (a *app) singleWriting(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.singleWriter, "single-writer", false,
		"write to a bucket that ignores conditions: no other machine may write to it at the same time")
}

// alone adds --offline to a verb that asks the shared cache only.
func alone(cmd *cobra.Command, to *bool) {
	cmd.Flags().BoolVar(to, "offline", false, "ask no shared cache: go by what is on this machine")
}

// connect makes a client of the bucket; nothing is asked yet.
func connect(ctx context.Context, r *recipe.Remote) (*s3.Client, error) {
	c, err := s3.New(ctx, s3.Config{
		Bucket: r.Bucket, Endpoint: r.Endpoint, Region: r.Region, Prefix: r.Prefix, CA: r.CA, PathStyle: r.PathStyle,
		Anonymous: r.ReadOnly,
	})
	if err != nil {
		return nil, &failure{code: exitCache, err: err}
	}
	return c, nil
}

// readOnly refuses what would write to a shared cache of which this machine says that it only reads it.
func readOnly(r *recipe.Remote, what string) error {
	if r == nil || !r.ReadOnly {
		return nil
	}
	return usage("%s: the shared cache is read_only for this machine; take that setting out of tinfra.hcl, --remote or TINFRA_REMOTE where it may write", what)
}

// join puts the shared cache beside this machine's, where there is one. With write, results are brought there, and it is begun where
// nobody has, unless this machine only reads it.
func (h *house) join(ctx context.Context, write bool) error {
	settings, err := h.remoteSettings()
	if err != nil || settings == nil {
		return err
	}
	client, err := connect(ctx, settings)
	if err != nil {
		return err
	}
	write = write && !settings.ReadOnly
	line := h.app.passing()
	line.say("asking " + client.Below(settings.Tier).String())
	places, err := h.places(ctx, client, settings, write)
	line.end()
	if err != nil {
		return h.remoteTrouble(ctx, err)
	}
	o := shared.Options{Local: h.store, Read: places}
	if write {
		o.Write, o.Read = places[0], places[1:]
		h.writes = places[0]
	}
	h.remote, h.client = shared.New(o), client
	joined := h.remote.Joined()
	h.cache = artifacts.NewCache(joined, joined).Beside(h.remote)
	return nil
}

// joinFor is join for a recipe: what describes the results of its last build comes at once.
func (h *house) joinFor(ctx context.Context, path string, write bool) error {
	if err := h.join(ctx, write); err != nil || h.remote == nil {
		return err
	}
	if err := h.remote.Begin(ctx, h.recordedPath(path)); err != nil {
		return h.remoteTrouble(ctx, err)
	}
	return nil
}

// places are the tiers: the own one first, which must be there to be written to. Of those that are read, one must be there.
func (h *house) places(ctx context.Context, client *s3.Client, r *recipe.Remote, write bool) ([]*bucket.Place, error) {
	own := client.Below(r.Tier)
	how := bucket.Settings{SingleWriter: r.SingleWriter, Note: notes(own, func(s3.Check) {})}
	var all []*bucket.Place
	var lacks error
	for i, tier := range append([]string{r.Tier}, r.Reads...) {
		open := bucket.Open
		if write && i == 0 {
			open = bucket.Create
		}
		p, err := open(ctx, client.Below(tier), how)
		switch {
		case err == nil:
			all = append(all, p)
		case errors.Is(err, bucket.ErrNoFormat):
			lacks = errors.Join(lacks, fmt.Errorf("%s: %w", client.Below(tier), err))
		case errors.Is(err, artifacts.ErrUnreachable), errors.Is(err, artifacts.ErrRefused): // it says where by itself
			return nil, err
		default:
			return nil, fmt.Errorf("%s: %w", client.Below(tier), err)
		}
	}
	h.lacks = lacks
	switch {
	case len(all) == 0 && r.ReadOnly:
		return nil, fmt.Errorf("%w; not from here, where it is read_only", lacks)
	case len(all) == 0:
		return nil, lacks
	}
	return all, nil
}

// notes probes a tier for what its format says of the bucket.
func notes(tier *s3.Client, report func(s3.Check)) func(context.Context) (bucket.Format, error) {
	return func(ctx context.Context) (bucket.Format, error) {
		found, err := tier.Probe(ctx, report)
		if err != nil {
			return bucket.Format{}, err
		}
		f := bucket.Format{
			Checked: time.Now(), Listing: bucket.Unordered, Tinfra: builder(),
			Conditions: bucket.Conditions{Create: found.Create, Replace: found.Replace, Multipart: found.Multipart},
		}
		if found.Ordered {
			f.Listing = bucket.Ordered
		}
		return f, nil
	}
}

// remoteTrouble is exit 5, with what can be done without the shared cache.
func (h *house) remoteTrouble(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, artifacts.ErrUnreachable) {
		err = fmt.Errorf("%w; `--remote none` goes on with what is in %s, --offline without any network", err, h.store.Dir())
	}
	return &failure{code: exitCache, err: err}
}
