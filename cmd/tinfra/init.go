package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

//go:embed example/example.hcl
var exampleRecipe string

//go:embed example/tinfra.hcl
var exampleProject string

//go:embed example/fable.txt
var exampleText string

func newInit(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "init [FOLDER]",
		Short: "Write an example recipe that builds",
		Long: `init writes example.hcl, a recipe that builds in a second without any Python, the text it reads, and tinfra.hcl with
every setting explained. A file that is there already stays as it is.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			for _, f := range []struct{ path, text string }{
				{"example.hcl", exampleRecipe}, {"tinfra.hcl", exampleProject}, {"texts/fable.txt", exampleText},
			} {
				if err := a.create(filepath.Join(dir, f.path), f.text); err != nil {
					return err
				}
			}
			fmt.Fprintf(a.stdout, "\nNow try:  tinfra build %s\n", filepath.Join(dir, "example.hcl"))
			return nil
		},
	}
}

func (a *app) create(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("writing the example: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		fmt.Fprintf(a.stdout, "kept   %s\n", path)
		return nil
	}
	if err == nil {
		_, err = f.WriteString(text)
		if closed := f.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		return fmt.Errorf("writing the example: %w", err)
	}
	fmt.Fprintf(a.stdout, "wrote  %s\n", path)
	return nil
}
