package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

func newLock(a *app) *cobra.Command {
	b := &building{app: a, maxRuns: -1}
	var update bool
	cmd := &cobra.Command{
		Use:   "lock [RECIPE]",
		Short: "Pin what a recipe's downloads resolve to",
		Long: `lock downloads what the lock file does not pin yet, and writes the digest of every file to <recipe>.lock.hcl: commit it
beside the recipe. With --update it asks every source anew.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := recipeArg(args)
			if err != nil {
				return err
			}
			b.alone = b.offline
			return b.lock(cmd.Context(), path, update)
		},
		ValidArgsFunction: completeRecipes,
	}
	b.selection.values(cmd)
	b.viewing(cmd)
	a.singleWriting(cmd)
	cmd.Flags().BoolVar(&update, "update", false, "pin anew what is pinned already")
	cmd.Flags().BoolVar(&b.offline, "offline", false, "reach for no network: pin what is cached or stands in a file, and fail for anything else")
	return cmd
}

// lock builds the stages whose sources are to be pinned, and nothing else.
func (b *building) lock(ctx context.Context, path string, update bool) error {
	if err := b.selection.check(); err != nil {
		return err
	}
	h, err := b.app.house(dirOf(path))
	if err != nil {
		return err
	}
	r, err := h.load(path, &b.selection)
	if err != nil {
		return err
	}
	open := unpinned(r, update)
	if len(open) == 0 {
		fmt.Fprintf(b.app.stdout, "%s: %s, all pinned\n", r.Lock.Path, view.Count(len(r.Lock.Sources), "source"))
		return nil
	}
	b.selection.targets = open
	b.update = update
	return b.build(ctx, path)
}

// unpinned are the stages whose source has no entry in the lock, or all that have a source.
func unpinned(r *recipe.Recipe, all bool) []string {
	var out []string
	for _, st := range r.Stages {
		for i := range st.Kind.Params {
			p := &st.Kind.Params[i]
			given, ok := st.Params[p.Name]
			if !p.Source || !ok {
				continue
			}
			if all || r.Lock.Sources[given.Value.AsString()] == nil {
				out = append(out, st.Address)
			}
		}
	}
	return out
}

// lockFile is the lock beside the recipe, as a build reads and extends it.
type lockFile struct {
	recipe string
	path   string

	mu     sync.Mutex      // over known; taken before the recipe's flock
	update bool            // the file's entries do not count, but for those in known
	known  map[string]bool // sources that this build has written
}

func newLockFile(r *recipe.Recipe, update bool) *lockFile {
	return &lockFile{recipe: r.Path, path: r.Lock.Path, update: update, known: map[string]bool{}}
}

// Entry is what the file says now: another build may have written to it.
func (l *lockFile) Entry(source string) (*recipe.Source, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.update && !l.known[source] {
		return nil, nil
	}
	lock, diags := recipe.ReadLock(l.path)
	if diags.HasErrors() {
		return nil, fmt.Errorf("reading the lock: %w", diags)
	}
	return lock.Sources[source], nil
}

// Add writes an entry beside the others. Builds of one recipe take turns by a lock on the recipe's own file, which
// leaves no further file about.
func (l *lockFile) Add(_ context.Context, entry *recipe.Source) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.Open(l.recipe)
	if err != nil {
		return fmt.Errorf("writing the lock: %w", err)
	}
	defer f.Close() // gives the lock back
	// Where the recipe's file system gives no locks, an entry that another build writes in this moment may be lost. The next
	// build writes it again.
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	if err != nil && !errors.Is(err, syscall.ENOLCK) && !errors.Is(err, syscall.ENOSYS) && !errors.Is(err, syscall.EOPNOTSUPP) {
		return fmt.Errorf("writing the lock: %w", err)
	}
	if err := recipe.WriteLock(&recipe.Lock{Path: l.path, Sources: map[string]*recipe.Source{entry.Source: entry}}); err != nil {
		return err
	}
	l.known[entry.Source] = true
	return nil
}

// written says that this build changed the file.
func (l *lockFile) written() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.known) > 0
}
