package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// formatting is what `fmt` was asked for.
type formatting struct {
	app         *app
	check, diff bool
	recursive   bool
	changed     int
}

func newFmt(a *app) *cobra.Command {
	f := &formatting{app: a}
	cmd := &cobra.Command{
		Use:   "fmt [FILE|FOLDER|-]...",
		Short: "Rewrite HCL files in the one layout",
		Long: `fmt rewrites recipes and other HCL files in the canonical layout. It writes the names of the files it changed. A folder
stands for the *.hcl files right in it, with --recursive for all below it; without arguments it is this folder; "-"
formats standard input to standard output.

With --check nothing is written, and the exit code is 3 when a file is not formatted (as with terraform fmt).`,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"."}
			}
			for _, arg := range args {
				if err := f.argument(arg); err != nil {
					return err
				}
			}
			if f.check && f.changed > 0 {
				return &failure{code: exitStage, err: fmt.Errorf("not formatted"), silent: true}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&f.check, "check", false, "change nothing; exit 3 when a file is not formatted")
	cmd.Flags().BoolVar(&f.diff, "diff", false, "change nothing; write what would change")
	cmd.Flags().BoolVarP(&f.recursive, "recursive", "r", false, "format the files of all folders below, too")
	return cmd
}

func (f *formatting) argument(arg string) error {
	if arg == "-" {
		src, err := io.ReadAll(f.app.stdin)
		if err != nil {
			return fmt.Errorf("reading standard input: %w", err)
		}
		return f.stdin(src)
	}
	info, err := os.Stat(arg)
	if err != nil {
		return usage("%w", err)
	}
	if !info.IsDir() {
		return f.file(arg)
	}
	return f.folder(arg)
}

func (f *formatting) folder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return usage("%w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir() && f.recursive && !strings.HasPrefix(e.Name(), "."):
			err = f.folder(path)
		case !e.IsDir() && filepath.Ext(path) == ".hcl":
			err = f.file(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *formatting) stdin(src []byte) error {
	out, err := format(src, "<stdin>")
	if err != nil {
		return err
	}
	if !bytes.Equal(src, out) {
		f.changed++
	}
	switch {
	case f.diff:
		_, err = io.WriteString(f.app.stdout, lineDiff("<stdin>", string(src), string(out)))
	case !f.check:
		_, err = f.app.stdout.Write(out)
	}
	return err
}

func (f *formatting) file(path string) error {
	src, err := os.ReadFile(path)
	if err != nil {
		return usage("%w", err)
	}
	out, err := format(src, path)
	if err != nil || bytes.Equal(src, out) {
		return err
	}
	f.changed++
	if f.diff {
		_, err := io.WriteString(f.app.stdout, lineDiff(path, string(src), string(out)))
		return err
	}
	fmt.Fprintln(f.app.stdout, path)
	if f.check {
		return nil
	}
	return replace(path, out)
}

// format refuses text that does not parse: its layout would be a guess.
func format(src []byte, name string) ([]byte, error) {
	if files, diags := recipe.CheckSyntax(src, name); diags.HasErrors() {
		return nil, &mistakes{diags, files}
	}
	return recipe.Format(src), nil
}

// replace writes a file by rename, so that a crash leaves the old one.
func replace(path string, b []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("formatting: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("formatting: %w", err)
	}
	defer os.Remove(tmp.Name()) // fails after the rename, as it should
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Chmod(info.Mode().Perm())
	}
	if closed := tmp.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("formatting %s: %w", path, err)
	}
	return nil
}

// lineDiff is the changed lines with a sign before each. Formatting moves no line, so line by line is enough; where
// the number of lines differs all the same, the tails are shown whole.
func lineDiff(name, old, new string) string {
	var b strings.Builder
	a, z := strings.Split(old, "\n"), strings.Split(new, "\n")
	for i := range max(len(a), len(z)) {
		if i < len(a) && i < len(z) && a[i] == z[i] {
			continue
		}
		fmt.Fprintf(&b, "%s:%d\n", name, i+1)
		if i < len(a) {
			b.WriteString("- " + a[i] + "\n")
		}
		if i < len(z) {
			b.WriteString("+ " + z[i] + "\n")
		}
	}
	return b.String()
}
