package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/stages"
)

func newDocs(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    "docs FOLDER",
		Short:  "Write the reference pages",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			catalog, err := stages.Builtin()
			if err != nil {
				return err
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("writing the reference: %w", err)
			}
			if err := stages.WriteReference(catalog, args[0]); err != nil {
				return err
			}
			path := filepath.Join(args[0], "cli.md")
			if err := os.WriteFile(path, reference(cmd.Root()), 0o644); err != nil {
				return fmt.Errorf("writing the reference: %w", err)
			}
			return nil
		},
	}
}

// reference is the page of all verbs. cobra's own generator would bring three modules for it.
func reference(root *cobra.Command) []byte {
	var b bytes.Buffer
	b.WriteString("<!-- Written by `make docs`. -->\n# Command line\n\n" + root.Long + "\n")
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, c := range cmd.Commands() {
			if !c.IsAvailableCommand() || c.Name() == "help" || c.Name() == "completion" {
				continue
			}
			page(&b, c)
			walk(c)
		}
	}
	walk(root)
	fmt.Fprintf(&b, "\n## Every verb takes\n\n```\n%s```\n", root.PersistentFlags().FlagUsagesWrapped(100))
	b.WriteString("\n`tinfra completion bash|zsh|fish|powershell` writes completion for a shell; it knows stages and ports.\n")
	return b.Bytes()
}

func page(b *bytes.Buffer, c *cobra.Command) {
	about := c.Long
	if about == "" {
		about = c.Short + "."
	}
	fmt.Fprintf(b, "\n## %s\n\n%s\n", c.CommandPath(), strings.TrimSpace(about))
	if c.Runnable() && !c.HasSubCommands() {
		fmt.Fprintf(b, "\n```\n%s\n", c.UseLine())
		if flags := c.LocalNonPersistentFlags(); flags.HasAvailableFlags() {
			b.WriteString("\n" + flags.FlagUsagesWrapped(100))
		}
		b.WriteString("```\n")
	}
	if c.Example != "" {
		fmt.Fprintf(b, "\n```\n%s\n```\n", c.Example)
	}
}
