package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// version is set by the linker for a release.
var version = ""

// builder names this tinfra in records.
func builder() string {
	v, _ := versionAndCommit()
	return "tinfra " + v
}

func versionAndCommit() (v, commit string) {
	v = version
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v, ""
	}
	if v == "" {
		v = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			commit = s.Value
		}
	}
	if v == "" || v == "(devel)" {
		v = "dev"
	}
	return v, commit
}

func newVersion(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say which tinfra this is",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v, commit := versionAndCommit()
			if asJSON {
				return writeJSON(a.stdout, map[string]any{
					"version": v, "commit": commit, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
					"actionFormat": artifacts.ActionFormat, "protocol": protocol.Version,
				})
			}
			fmt.Fprintf(a.stdout, "tinfra %s (%s, %s/%s)\nkeys of format %d, worker protocol %d\n",
				v, runtime.Version(), runtime.GOOS, runtime.GOARCH, artifacts.ActionFormat, protocol.Version)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}
