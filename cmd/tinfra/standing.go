package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/pipeline/reading"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
	"github.com/Ruihan11/tiny-infra/pipeline/run/local"
)

// standing is a build that left the results of all its stages in the cache, with all that it was made from. As long as none of
// that changes, the same request has the same results, and nobody needs to read the recipe to know them.
type standing struct {
	standingNote
	Loaded   reading.Readings // what the recipe was made from: its texts, the project's settings, the kinds, what its expressions read
	Readings reading.Readings // of what it names; and the pointers, records, manifests and actions in the cache
	Blobs    blobList         // files of outputs
	Stages   []stood

	name artifacts.Digest // that it is remembered by
}

// standingNote is the part that does not grow with the recipe's stages.
type standingNote struct {
	Facts        map[string]*string          // those that keys hold, as this machine stated them; nil: it did not
	Environments map[string]artifacts.Digest // by name, as they were described
	Build        artifacts.Build             // Recipe, Modules, Variables, Targets, Lock
	Values       []view.Value
	Orders       map[string][]string // kind → its metrics, the most telling first
	Reports      bool                // the recipe has some
	Compared     *compared
	Snapshot     artifacts.Digest // of the recipe, which is remembered beside this; zero: of this recipe there is none
	Kinds        []string         // folders of all that the recipe needs to be told of; nil: it may need to be told of any
}

// stood is one stage.
type stood struct {
	run.Hit
	Metrics         map[string]float64
	Builder         string
	Started, Ended  time.Time // of the run that made it
	PeakBytes, Size int64
	Synthetic       bool
	rest            string // its stoodRest, packed
}

// stoodRest is what most builds do not ask of a stage: to make maps of it would take longer than all else that is read of it.
type stoodRest struct {
	Files    []int // of its outputs, by their places among the blobs
	Outputs  map[string]artifacts.Digest
	Observed map[string]string
}

func (s *stood) seconds() float64 { return s.Ended.Sub(s.Started).Seconds() }

// showsOn tells whether w can be shown what the build ends with: a table is as wide as the terminal was.
func (s *standing) showsOn(w io.Writer) bool {
	return !s.Reports || s.Compared != nil && s.Compared.Width == widthOfComparison(w)
}

func (s *stood) row(orders map[string][]string) view.Row {
	return view.Row{
		Stage: s.Address, State: string(artifacts.Hit), Seconds: s.seconds(), PeakBytes: s.PeakBytes, Size: s.Size,
		Metrics: s.Metrics, Order: orders[s.Kind], Synthetic: s.Synthetic,
	}
}

func (s *standing) rows() []view.Row {
	rows := make([]view.Row, len(s.Stages))
	for i := range s.Stages {
		rows[i] = s.Stages[i].row(s.Orders)
	}
	return rows
}

func (s *standing) hits() []run.Hit {
	hits := make([]run.Hit, len(s.Stages))
	for i := range s.Stages {
		hits[i] = s.Stages[i].Hit
	}
	return hits
}

// told is what is said of a hit to those who hear every event.
func (s *standing) told(i int) run.Result {
	rest := s.Stages[i].unpackRest()
	outputs := make(map[string]string, len(rest.Outputs))
	for port, d := range rest.Outputs {
		outputs[port] = d.String()
	}
	return run.Result{Outputs: outputs, Metrics: s.Stages[i].Metrics, Observed: rest.Observed}
}

// names are what a build that stands on this relies on.
func (s *standing) names() []artifacts.Digest {
	names := make([]artifacts.Digest, 0, len(s.Stages)+2+len(s.Build.Modules))
	for i := range s.Stages {
		names = append(names, s.Stages[i].Key.Digest())
	}
	return append(names, s.texts()...)
}

// texts are the recipe, its lock and its modules, as far as there are any.
func (s *standing) texts() []artifacts.Digest {
	all := slices.AppendSeq([]artifacts.Digest{s.Build.Recipe, s.Build.Lock}, maps.Values(s.Build.Modules))
	return slices.DeleteFunc(all, artifacts.Digest.IsZero)
}

var errFallen = errors.New("something has changed")

// finding is what became of a standing build.
type finding struct {
	holds  bool
	learnt bool   // the standing is worth keeping again
	known  *known // where it does not hold: what of it does
}

// look tells whether all is as it was, and if not what is.
func (s *standing) look(ctx context.Context, h *house, offline bool) finding {
	abandoned, err := h.store.Abandoned()
	if err != nil || abandoned { // what a dead build has left is for one to take up, or away, that knows all its keys
		return finding{}
	}
	var loaded, now reading.Comparison
	var unloaded, unread, gone, other error
	var work sync.WaitGroup
	work.Go(func() { loaded, unloaded = s.Loaded.Compare(ctx) })
	work.Go(func() { now, unread = s.Readings.Compare(ctx) })
	work.Go(func() { gone = h.store.PresentIn(ctx, s.Blobs.parts(), s.Blobs.part) })
	work.Go(func() { other = s.sameMachine(ctx, h, offline) })
	work.Wait()
	switch {
	case unloaded != nil || unread != nil || gone != nil:
		return finding{}
	case other != nil || len(loaded.Changed) > 0 || len(now.Changed) > 0:
		k := s.known(h.store, now.Changed)
		k.sameRecipe = len(loaded.Changed) == 0
		return finding{known: k}
	}
	return finding{holds: true, learnt: loaded.Learnt || now.Learnt}
}

// sameMachine asks again for what no file tells: the facts that are in keys, and what this machine's Python is.
func (s *standing) sameMachine(ctx context.Context, h *house, offline bool) error {
	if len(s.Facts) > 0 {
		facts, err := local.New(local.Options{Facts: limits(h.project.Local)}).Facts(ctx)
		if err != nil {
			return err
		}
		for name, v := range s.Facts {
			now, ok := facts[name]
			if ok != (v != nil) || ok && now != *v {
				return errFallen
			}
		}
	}
	if len(s.Environments) == 0 {
		return nil
	}
	envs, err := h.environments(offline)
	if err != nil {
		return err
	}
	for name, want := range s.Environments {
		blob, err := envs.Blob(ctx, name)
		if err != nil {
			return err
		}
		if artifacts.Sum(blob) != want {
			return errFallen
		}
	}
	return nil
}

// programIdentity changes with the program: another one may make other keys of the same recipe.
func programIdentity() (string, bool) {
	path, err := os.Executable()
	if err != nil {
		return "", false
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", false
	}
	return fmt.Sprint(builder(), path, st.Size, st.Ino, st.Mtim.Nano(), st.Ctim.Nano()), true
}
