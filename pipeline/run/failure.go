package run

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/hashicorp/hcl/v2"
	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// Exit codes of a build, as the person's shell sees them.
const (
	ExitBuilt       = 0
	ExitInternal    = 1
	ExitRecipe      = 2
	ExitStage       = 3
	ExitRequire     = 4
	ExitCache       = 5
	ExitInterrupted = 130
)

// Error is why a build did not end with 0. What the author of the recipe can mend is in Diagnostics, with its place;
// Causes has everything else, one for each stage that failed.
type Error struct {
	Exit        int
	Diagnostics hcl.Diagnostics
	Causes      []error
}

func (e *Error) Error() string {
	var all []string
	if e.Diagnostics.HasErrors() {
		all = append(all, plan.Diagnostics{Diagnostics: e.Diagnostics}.Error())
	}
	for _, c := range e.Causes {
		all = append(all, c.Error())
	}
	return strings.Join(all, "\n")
}

func (e *Error) Unwrap() []error { return e.Causes }

// ErrInterrupted is the cause of a context that a person cancelled.
var ErrInterrupted = errors.New(event.Interrupted)

// StageError is a stage that could not be made. Its text is for people and names the stage. What is unwrapped of it is
// for errors.Is alone: it may hold secrets.
type StageError struct {
	Address string
	text    string // secrets taken out
	err     error
}

func (e *StageError) Error() string { return e.Address + ": " + e.text }
func (e *StageError) Unwrap() error { return e.err }

// transient marks a failure that another attempt may mend.
type transient struct{ error }

func (t transient) Unwrap() error { return t.error }

// cacheTrouble marks a failure of the cache, not of the stage.
type cacheTrouble struct{ error }

func (c cacheTrouble) Unwrap() error { return c.error }

// lockTrouble marks a lock file that could not be written.
type lockTrouble struct{ error }

func (l lockTrouble) Unwrap() error { return l.error }

// unwritten tells a failure to write from one that is the worker's, and so would come again however often its result
// were looked at.
func unwritten(err error) bool {
	if _, ok := errors.AsType[lockTrouble](err); ok || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return true
	}
	_, cache := errors.AsType[cacheTrouble](err)
	_, system := errors.AsType[syscall.Errno](err)
	return cache && system
}

const noRoom = "no space left for the cache: free some, or set TINFRA_CACHE to a larger disk"

// roomless says what to do where a workspace had no room for what tinfra writes there. The store says so by itself, and
// the lock is on another disk.
func roomless(err error) error {
	_, lock := errors.AsType[lockTrouble](err)
	full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
	if lock || !full || strings.Contains(err.Error(), "TINFRA_CACHE") {
		return err
	}
	return cacheTrouble{fmt.Errorf("%s: %w", noRoom, err)}
}

// crowded adds to a worker's failure what its disk has left: nearly nothing, and what it said had no room either; or some, where it
// wanted more. A kill for memory says nothing of disks.
func crowded(ws string, e Exit, err error) error {
	const little = 64 << 10 // bytes
	var disk unix.Statfs_t
	if d, ok := errors.AsType[plan.Diagnostics](err); ok && d.HasErrors() || unix.Statfs(ws, &disk) != nil {
		return err
	}
	free := int64(disk.Bavail) * int64(disk.Bsize) //nolint:gosec,unconvert // a disk has fewer bytes than int64 counts; the types differ elsewhere
	switch {
	case free < little:
		return fmt.Errorf("%w; %s", err, noRoom)
	case e.Code == protocol.ExitResources && !e.OOMKilled:
		return fmt.Errorf("%w; its disk has %s left", err, gib(free))
	}
	return err
}

// requireError is a `require` that did not hold.
type requireError struct{ error }

func (r requireError) Unwrap() error { return r.error }

func problem(at hcl.Range, summary, format string, args ...any) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(format, args...), Subject: &at}
}

func diagnosed(d ...*hcl.Diagnostic) error { return plan.Diagnostics{Diagnostics: d} }

// oneLine is an error's text for a Reason.
func oneLine(err error) string {
	var d plan.Diagnostics
	if errors.As(err, &d) && len(d.Diagnostics) > 0 {
		return d.Diagnostics[0].Summary + ": " + d.Diagnostics[0].Detail
	}
	text, rest, more := strings.Cut(err.Error(), "\n")
	if more && strings.TrimSpace(rest) != "" {
		text += " …"
	}
	return text
}
