package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/stages/env"
)

func newEnvPack(a *app) *cobra.Command {
	var o env.PackOptions
	var machine, split string
	cmd := &cobra.Command{
		Use:   "pack NAME -o FILE",
		Short: "Pack an environment for a machine without a network",
		Long: `pack writes all that an environment consists of to one file, or to parts of it: its packages, its native parts, and uv, which
installs them. ` + "`tinfra env unpack`" + ` makes the environment of it elsewhere, without a network, and takes nothing that is not in the lock.
It is packed for this machine, or for the one whose description --for names. Packages that the described machine has of its own are left
out, and so are those that no --only asks for; such a pack is an overlay. What of the latter the machine lacks is told.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name = args[0]
			if o.Out == "" {
				return usage("say where to with -o FILE")
			}
			if split != "" {
				n, err := humanize.ParseBytes(split)
				if err != nil || n == 0 || n > math.MaxInt64 {
					return usage("--split %s: give a size such as 56MiB", split)
				}
				o.Most = int64(n)
			}
			set, err := a.packing(o.Name, machine, &o)
			if err != nil {
				return err
			}
			made, err := set.Pack(cmd.Context(), o, func(done string) { fmt.Fprintf(a.stderr, "%s: %s\n", o.Name, done) })
			if err != nil {
				return err
			}
			for _, name := range made.Files {
				fmt.Fprintln(a.stdout, name)
			}
			words := view.Count(made.Packages, "package")
			if made.LeftOut > 0 {
				words += fmt.Sprintf(", %d left out", made.LeftOut)
			}
			fmt.Fprintf(a.stderr, "%s: packed %s, %s\n", o.Name, words, view.Bytes(made.Bytes))
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.Out, "output", "o", "", "the file to write; it must not be there")
	f.StringVar(&machine, "for", "", "description of the machine, as `tinfra env describe --json` wrote it there")
	f.StringSliceVar(&o.Only, "only", nil, "pack only packages and native parts whose names match a glob")
	f.StringVar(&split, "split", "", "write parts of this size, FILE.000 and so on")
	return cmd
}

// packing opens the environments, and reads for which machine one is packed.
func (a *app) packing(name, machine string, o *env.PackOptions) (*env.Set, error) {
	h, err := a.openHouse("")
	if err != nil {
		return nil, err
	}
	set, err := h.environments(false)
	if err != nil {
		return nil, err
	}
	if _, err := environmentNames(set, []string{name}); err != nil {
		return nil, err
	}
	if machine != "" {
		if o.For, err = env.ReadMachine(machine); err != nil {
			return nil, usage("--for: %w", err)
		}
	}
	return set, nil
}

func joined(names []string) string { return strings.Join(names, ", ") }
