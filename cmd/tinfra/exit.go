package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
)

// Exit codes: docs/reference/cli.md says them to people.
const (
	exitOK          = 0
	exitInternal    = 1
	exitUsage       = 2 // a mistake in the recipe or on the command line
	exitStage       = 3 // a stage failed
	exitRequire     = 4 // a require failed
	exitCache       = 5 // the cache cannot be reached, or is corrupt
	exitInterrupted = 130
	exitUnread      = 141 // whoever read the answer went away: what a shell gives for SIGPIPE
)

// failure is an error that knows its exit code. A silent one was already told to the person.
type failure struct {
	code   int
	err    error
	silent bool
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func usage(format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// mistakes are what the author of a recipe can mend.
type mistakes struct {
	diags hcl.Diagnostics
	files map[string]*hcl.File
}

func (m *mistakes) Error() string { return m.diags.Error() }

// report tells the person what went wrong and returns the exit code.
func (a *app) report(verb *cobra.Command, err error) int {
	asJSON := false
	if flag := verb.Flags().Lookup("json"); flag != nil {
		asJSON = flag.Value.String() == "true"
	}
	var f *failure
	if errors.As(err, &f) && f.silent {
		return f.code
	}
	var m *mistakes
	if errors.As(err, &m) {
		if asJSON {
			_ = view.DiagnosticsJSON(a.stderr, m.diags, m.files) // nobody is left to tell of a closed stderr
		} else {
			_ = view.Diagnostics(a.stderr, m.diags, m.files)
		}
		return max(codeOf(err), exitUsage)
	}
	code := codeOf(err)
	if asJSON {
		b, _ := json.Marshal(map[string]any{"error": err.Error(), "exit": code})
		fmt.Fprintln(a.stderr, string(b))
		return code
	}
	fmt.Fprintln(a.stderr, "tinfra:", err)
	return code
}

// codeOf is the exit code that an error stands for.
func codeOf(err error) int {
	var f *failure
	var m *mistakes
	var d plan.Diagnostics
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &f):
		return f.code
	case errors.As(err, &m), errors.As(err, &d), errors.Is(err, artifacts.ErrAmbiguous):
		return exitUsage
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.Is(err, artifacts.ErrDamaged), errors.Is(err, artifacts.ErrMissing), // of what a build or a record names
		errors.Is(err, artifacts.ErrUnreachable), errors.Is(err, artifacts.ErrRefused):
		return exitCache
	default:
		return exitInternal
	}
}
