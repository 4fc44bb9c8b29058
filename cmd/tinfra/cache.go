package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
)

func newCache(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "cache", Short: "Look after the cache", Args: cobra.NoArgs, RunE: needsVerb}
	cmd.AddCommand(newCacheStat(a), newCacheVerify(a), newCacheGC(a), newCachePush(a), newCachePull(a))
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

	Shared *sharedUsage `json:"shared,omitempty"` // absent without a shared cache
}

func newCacheStat(a *app) *cobra.Command {
	var asJSON, offline bool
	cmd := &cobra.Command{
		Use:   "stat",
		Short: "Say where the cache is and how much it holds",
		Long: `stat says where the cache is and how much it holds, and the same of the shared cache where there is one: the objects in it, the
bytes of the files that it stands for, those that are stored, and what is saved since results have pieces in common and since pieces
are compressed. For that it lists the bucket and reads all maps of pieces; --offline leaves it out.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.openHouse("")
			if err != nil {
				return err
			}
			u, err := h.usage(cmd.Context())
			if err == nil && !offline {
				u.Shared, err = h.sharedUsage(cmd.Context())
			}
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(a.stdout, u)
			}
			fmt.Fprintf(a.stdout, "cache         %s\nblobs         %d, %s\nresults       %d\nrecords       %d\nbuilds        %d\nenvironments  %d, %s\n",
				u.Dir, u.Blobs, view.Bytes(u.Bytes), u.Results, u.Records, u.Builds, u.Envs, view.Bytes(u.EnvSize))
			if u.Shared != nil {
				u.Shared.write(a.stdout)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	alone(cmd, &offline)
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
