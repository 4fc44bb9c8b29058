package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
)

func newCache(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "cache", Short: "Look after the cache", Args: cobra.NoArgs, RunE: needsVerb}
	cmd.AddCommand(newCacheStat(a), newCacheVerify(a), newCacheGC(a))
	return cmd
}

// needsVerb is a command that is only a group of others.
func needsVerb(cmd *cobra.Command, _ []string) error {
	_ = cmd.Help() // writes to the command's own output, and has nobody else to tell
	return &failure{code: exitUsage, err: fmt.Errorf("%s needs a verb", cmd.CommandPath()), silent: true}
}

// usageJSON is what the cache holds.
type usageJSON struct {
	Dir     string `json:"dir"`
	Blobs   int64  `json:"blobs"`
	Bytes   int64  `json:"bytes"`
	Results int64  `json:"results"`
	Records int64  `json:"records"`
	Builds  int64  `json:"builds"`
	Envs    int64  `json:"envs"`
	EnvSize int64  `json:"envBytes"`
}

func newCacheStat(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stat",
		Short: "Say where the cache is and how much it holds",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.openHouse("")
			if err != nil {
				return err
			}
			u, err := h.usage(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(a.stdout, u)
			}
			fmt.Fprintf(a.stdout, "cache         %s\nblobs         %d, %s\nresults       %d\nrecords       %d\nbuilds        %d\nenvironments  %d, %s\n",
				u.Dir, u.Blobs, view.Bytes(u.Bytes), u.Results, u.Records, u.Builds, u.Envs, view.Bytes(u.EnvSize))
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

func (h *house) usage(ctx context.Context) (usageJSON, error) {
	u := usageJSON{Dir: h.store.Dir()}
	for blob, err := range h.store.All(ctx) {
		if err != nil {
			return u, fmt.Errorf("listing the cache: %w", err)
		}
		u.Blobs++
		u.Bytes += blob.Size
	}
	for prefix, n := range map[string]*int64{"keys/": &u.Results, "records/": &u.Records, "builds/": &u.Builds} {
		for _, err := range h.store.List(ctx, prefix, "") {
			if err != nil {
				return u, fmt.Errorf("listing the cache: %w", err)
			}
			*n++
		}
	}
	set, err := h.environments(true)
	if err != nil {
		return u, err
	}
	envs, err := set.List(ctx)
	if err != nil {
		return u, err
	}
	for _, e := range envs {
		u.Envs++
		u.EnvSize += e.Bytes
	}
	return u, nil
}

// problemJSON is one thing wrong with the cache.
type problemJSON struct {
	Name   string   `json:"name"`
	Kind   string   `json:"kind"`
	Detail string   `json:"detail"`
	Builds []string `json:"builds,omitempty"`
}

func newCacheVerify(a *app) *cobra.Command {
	var asJSON, repair bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read everything in the cache and compare it with its digests",
		Long: `verify reads every blob and checks it against its digest, and that nothing refers to what is not there. Exit
code 5 says that something is wrong. With --repair what is damaged is removed: the next build makes it again. A file
that shows by its times that it was written to is removed as soon as it is met, by this or any other verb.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.openHouse("")
			if err == nil && repair {
				err = h.writable()
			}
			if err != nil {
				return err
			}
			return h.verify(cmd.Context(), asJSON, repair)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	cmd.Flags().BoolVar(&repair, "repair", false, "remove what is damaged, so that the next build makes it again")
	return cmd
}

func (h *house) verify(ctx context.Context, asJSON, repair bool) error {
	problems := []problemJSON{}
	err := h.cache.Verify(ctx, h.store, func(p artifacts.Problem) {
		problems = append(problems, problemJSON{p.Name, fmt.Sprint(p.Kind), p.Detail, p.Builds})
		if asJSON {
			return
		}
		fmt.Fprintf(h.app.stdout, "%s  %s: %s\n", p.Kind, p.Name, p.Detail)
		for _, b := range p.Builds {
			fmt.Fprintf(h.app.stdout, "    used by build %s\n", b)
		}
	})
	if err != nil {
		return fmt.Errorf("verifying the cache: %w", err)
	}
	if asJSON {
		if err := writeJSON(h.app.stdout, map[string]any{"problems": problems}); err != nil {
			return err
		}
	}
	if len(problems) > 0 && repair {
		return h.repair(ctx, problems, asJSON)
	}
	if len(problems) > 0 {
		return &failure{code: exitCache, err: fmt.Errorf("%s in %s; `tinfra cache verify --repair` removes what is damaged, and the next build makes it again",
			view.Count(len(problems), "problem"), h.store.Dir())}
	}
	if !asJSON {
		fmt.Fprintln(h.app.stdout, "everything is as its digest says")
	}
	return nil
}

// repair deletes what a problem is about. Absence is always safe: the stage that made it runs again.
func (h *house) repair(ctx context.Context, problems []problemJSON, asJSON bool) error {
	for _, p := range problems {
		if err := h.store.Delete(ctx, p.Name); err != nil {
			return &failure{code: exitCache, err: fmt.Errorf("removing %s: %w", p.Name, err)}
		}
		if !asJSON {
			fmt.Fprintf(h.app.stdout, "removed  %s\n", p.Name)
		}
	}
	return nil
}
