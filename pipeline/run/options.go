package run

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages/env"
)

// Options of one build.
type Options struct {
	Cache      *artifacts.Cache
	Workspaces Workspaces
	Layer      Layer
	Adopter    Adopter
	Leaser     Leaser
	Executor   Executor
	Meter      Meter // nil: nobody knows what a worker computes
	Envs       Environments
	Events     *event.Bus
	Lock       Lock
	Share      Sharer // nil: results stay on this machine
	Claims     Claims // nil: no other machine would do the same work
	Forget     Forget // nil: nothing is promised by other machines

	Checkpoints Checkpoints // nil: nothing outlives an attempt

	Facts     map[string]string // of the executor, as planned with; nil: it is asked
	Jobs      int               // most stages at once; 0: as many as resources allow
	MaxRuns   *int              // most stages that run, those too whose results turn out to be lost; nil: any number
	KeepGoing bool              // after a failure, go on with what does not depend on it
	Locked    bool              // refuse a download that the lock does not pin
	Retries   int               // of transient failures, for stages that do not say; 0: 2, negative: none
	Grace     time.Duration     // between SIGTERM and SIGKILL; 0: the executor's default
	Force     func(address string) bool

	Environ     []string                         // the caller's; nil: this process's
	SecretValue func(name string) (string, bool) // nil: from Environ
	Settings    map[string]json.RawMessage       // of tinfra.hcl, for workers

	// Build holds what identifies the build: RecipePath, Targets, Lock, Commit, Host; ID, Recipe, Variables and Started
	// are filled in where empty.
	Build   artifacts.Build
	Builder string          // tinfra's version
	Kill    <-chan struct{} // closed when the person is out of patience: workers end at once
	Clock   Clock           // nil: the real one
}

// Workspaces makes the folders that attempts run in, and finds those of earlier builds again. A disk.Store has the same
// methods with its own types, so an adapter of a few lines joins the two.
type Workspaces interface {
	// Workspace opens the folder of an attempt, making it where it is not there.
	Workspace(key artifacts.Key, attempt int) (Workspace, error)
	// Fresh opens one that nobody has had. Of the layout, folders with a slash at the end and files, some or all may be there: empty.
	Fresh(key artifacts.Key, attempt int, layout []string) (Workspace, error)
	Attempts(key artifacts.Key) ([]int, error)
	// Path is where Workspace opens one; it need not be there.
	Path(key artifacts.Key, attempt int) string
}

// Layer puts inputs before a worker, read-only. check says afterwards whether one was changed;
// its error is artifacts.ErrShared where another stage may have done it.
type Layer interface {
	Lay(ctx context.Context, m *artifacts.Manifest, dir string) (check func() error, err error)
	// Found is for what an earlier process laid.
	Found(m *artifacts.Manifest, dir string) (check func() error)
}

// Workspace is one such folder. Close removes it, Release leaves it for a later build; Reuse removes it, and what is left of it may
// be a fresh one of the same layout.
type Workspace struct {
	Dir                   string
	Close, Release, Reuse func() error
}

// Adopter takes an output folder out of the worker's reach, and into the store.
type Adopter interface {
	// ReadTree reads the files of a folder into memory. It gives no Manifest where they are too many, or more than so many bytes.
	ReadTree(ctx context.Context, dir, typ string, labels map[string]string, most int64) (*artifacts.Manifest, []artifacts.Payload, error)
	// AdoptTree moves the folder away, and makes blobs of its files.
	AdoptTree(ctx context.Context, dir, typ string, labels map[string]string) (*artifacts.Manifest, error)
	// Noted says that the Manifest of an adopted folder is kept. Until then, whoever takes the workspace over finds the
	// folder in its place.
	Noted(dir string) error
}

// Leaser lets one build at a time work on a key. waiting is called when another one has it.
type Leaser interface {
	Lease(ctx context.Context, key artifacts.Key, holder []byte, waiting func(holder []byte)) (release func() error, err error)
}

// Environments installs a locked environment, once, and says what a worker needs of it.
type Environments interface {
	Install(ctx context.Context, name string, progress func(done string)) (env.Ready, error)
}

// Lock is the lock file beside the recipe. Entry reads it as it is now (another build may have written to it) and gives
// nil for a source that it does not have.
type Lock interface {
	Entry(source string) (*recipe.Source, error)
	Add(ctx context.Context, entry *recipe.Source) error
}

// Forget says that what other machines have made under a key is of no use, since its bytes are gone: the cache finds it no more, and what is
// shared under that key takes its place.
type Forget func(key artifacts.Key)

// Clock is what time it is, and a way to wait.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

// RealClock is the machine's.
type RealClock struct{}

// Now is what time it is.
func (RealClock) Now() time.Time { return time.Now() }

// After tells when d has passed.
func (RealClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

const defaultRetries = 2

func (o Options) filled() Options {
	if o.Clock == nil {
		o.Clock = RealClock{}
	}
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if o.SecretValue == nil {
		o.SecretValue = o.lookupEnv
	}
	if o.Force == nil {
		o.Force = func(string) bool { return false }
	}
	if o.Events == nil {
		o.Events = event.NewBus()
	}
	switch {
	case o.Retries == 0:
		o.Retries = defaultRetries
	case o.Retries < 0:
		o.Retries = 0
	}
	return o
}

func (o Options) lookupEnv(name string) (string, bool) {
	for _, pair := range o.Environ {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value, true
		}
	}
	return "", false
}
