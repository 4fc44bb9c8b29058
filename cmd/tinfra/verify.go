package main

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/lineage"
)

// envFolder is where installed environments are named.
const envFolder = "env/"

// problemJSON is one thing wrong with the cache.
type problemJSON struct {
	Name   string   `json:"name"`
	Kind   string   `json:"kind"`
	Detail string   `json:"detail"`
	Builds []string `json:"builds,omitempty"`

	mend  func(context.Context) (artifacts.Repaired, error)
	first bool // mended before anything can register in the cache
}

// findings are what a look at the whole cache gave.
type findings struct {
	Problems []problemJSON `json:"problems"`
	Lost     []problemJSON `json:"lost,omitempty"` // what an earlier repair could not bring back; no problem any more
}

func newCacheVerify(a *app) *cobra.Command {
	var asJSON, repair, quick bool
	var remote string
	var tiers []string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read everything in the cache and compare it with its digests",
		Long: `verify reads every blob and checks it against its digest, follows every name, and sees that all is there which
records and builds refer to. It compares installed environments with the hashes of their packages, and the lineage
index with the records. Each problem is named with the builds that used the thing; exit code 5 says that there is one.

With --repair, what is damaged is removed and the next build makes it again; names are set anew where the cache still
says what they led to. What nothing can make again, such as the log of an old run, is given up: it is said then and by each
verify from then on, and no problem any more. A file that shows by its times that it was written to is removed as soon as it
is met, by this or any other verb.

With --remote it reads the shared cache in place of this machine's: each key is followed to its record, action, manifests, maps and
packs, and all their bytes are compared with their digests; --quick only sees that maps are sound and packs there, with their sizes.
What is wrong is named with the builds and stages that it touches. All tiers that are configured are read, one after the other, or those
that --tier names. With --repair, results that this machine has whole are sent again to the first of them, the one that builds write
to, and nothing is removed; what is wrong then, exit code 5 says.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if quick && remote == "" {
				return usage("--quick is for --remote: this machine's cache is always read whole")
			}
			if len(tiers) > 0 && remote == "" {
				return usage("--tier is for --remote: this machine's cache has no tiers")
			}
			h, err := a.openHouse("")
			if err == nil && remote != "" {
				return h.verifyShared(cmd.Context(), sharedVerification{remote, tiers, quick, repair, asJSON})
			}
			if err == nil && repair {
				err = h.writable()
			}
			if err != nil {
				return err
			}
			found, err := h.inspect(cmd.Context())
			if err != nil {
				return fmt.Errorf("verifying the cache: %w", err)
			}
			if repair {
				return h.repair(cmd.Context(), found, asJSON)
			}
			return h.tellFindings(found, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	cmd.Flags().BoolVar(&repair, "repair", false, "remove what is damaged, so that the next build makes it again; with --remote: send again what this machine has")
	cmd.Flags().BoolVar(&quick, "quick", false, "with --remote: do not read the bytes of packs and logs")
	cmd.Flags().StringSliceVar(&tiers, "tier", nil, "with --remote: these tiers, in place of those configured")
	cmd.Flags().StringVar(&remote, "remote", "", "verify the shared cache: the one configured, or that of --remote=s3://BUCKET/PREFIX?endpoint=URL")
	cmd.Flags().Lookup("remote").NoOptDefVal = configured
	return cmd
}

// inspect looks at everything. The environments and the index are not package artifacts's to know.
func (h *house) inspect(ctx context.Context) (*findings, error) {
	found := &findings{Problems: []problemJSON{}}
	if err := h.inspectLayout(ctx, found); err != nil { // first, since nothing can be mended below a name that is taken
		return nil, err
	}
	err := h.cache.Verify(ctx, h.store, func(p artifacts.Problem) {
		one := problemJSON{Name: p.Name, Kind: string(p.Kind), Detail: p.Detail, Builds: p.Builds}
		one.mend = func(ctx context.Context) (artifacts.Repaired, error) { return h.cache.Repair(ctx, h.store, p) }
		if p.Kind == artifacts.Lost {
			found.Lost = append(found.Lost, one)
		} else {
			found.Problems = append(found.Problems, one)
		}
	})
	if err != nil {
		return nil, err
	}
	for _, look := range []func(context.Context, *findings) error{h.inspectEnvironments, h.inspectIndex} {
		if err := look(ctx, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// inspectLayout: that a name of a pointer is a folder is the disk's to know.
func (h *house) inspectLayout(ctx context.Context, found *findings) error {
	all, err := h.store.Misplaced(ctx)
	if err != nil {
		return err
	}
	for _, m := range all {
		one := problemJSON{Name: m.Name, Kind: string(artifacts.Malformed), Detail: m.Detail, first: !m.Pointer}
		if d, err := artifacts.ParseHex(path.Base(m.Name)); err == nil {
			used, err := h.cache.Uses(ctx, d)
			if err != nil {
				return err
			}
			one.Builds = used.Of(d)
		}
		one.mend = func(ctx context.Context) (artifacts.Repaired, error) {
			if err := h.store.SetAside(m); err != nil || !m.Pointer {
				return artifacts.Removed, err
			}
			return h.cache.Repair(ctx, h.store, artifacts.Problem{Name: m.Name, Kind: artifacts.Malformed})
		}
		found.Problems = append(found.Problems, one)
	}
	return nil
}

func (h *house) inspectEnvironments(ctx context.Context, found *findings) error {
	set, err := h.environments(true)
	if err != nil {
		return err
	}
	return set.Verify(ctx, func(digest artifacts.Digest, why error) error {
		used, err := h.cache.Uses(ctx, digest)
		if err != nil {
			return err
		}
		found.Problems = append(found.Problems, problemJSON{
			Name: envFolder + digest.Hex(), Kind: string(artifacts.Damaged), Detail: why.Error(), Builds: used.Of(digest),
			mend: func(ctx context.Context) (artifacts.Repaired, error) {
				_, err := set.Remove(ctx, digest.Hex())
				return artifacts.Removed, err
			},
		})
		return nil
	})
}

func (h *house) inspectIndex(ctx context.Context, found *findings) error {
	// An index may know more than can be read of a damaged cache, and be right.
	why, err := lineage.Verify(ctx, h.indexPath(), h.cache, len(found.Problems) == 0)
	if errors.Is(err, lineage.ErrUnchecked) { // it is no reason to keep back what was found of the rest
		fmt.Fprintln(h.app.stderr, "tinfra:", err)
		return nil
	}
	if err != nil || why == nil {
		return err
	}
	found.Problems = append(found.Problems, problemJSON{
		Name: lineage.FileName, Kind: string(artifacts.Damaged), Detail: why.Error(),
		mend: func(context.Context) (artifacts.Repaired, error) {
			return artifacts.Remade, nil // as after any repair
		},
	})
	return nil
}

func (h *house) tellFindings(found *findings, asJSON bool) error {
	if asJSON {
		if err := writeJSON(h.app.stdout, found); err != nil {
			return err
		}
	} else {
		h.writeProblems(found.Problems)
		h.writeProblems(found.Lost)
	}
	if n := len(found.Problems); n > 0 {
		return &failure{code: exitCache, err: fmt.Errorf("%s in %s; `tinfra cache verify --repair` removes what is damaged, and the next build makes it again",
			view.Count(n, "problem"), h.store.Dir())}
	}
	if !asJSON {
		fmt.Fprintln(h.app.stdout, "everything is as its digest says")
	}
	return nil
}

func (h *house) writeProblems(all []problemJSON) {
	for _, p := range all {
		fmt.Fprintf(h.app.stdout, "%s  %s: %s\n", p.Kind, p.Name, p.Detail)
		for _, b := range p.Builds {
			fmt.Fprintf(h.app.stdout, "    used by build %s\n", b)
		}
	}
}
