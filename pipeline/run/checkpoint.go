package run

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// Checkpoints keeps finished pieces beyond the attempt that made them, until the key has its record. They enter no key.
type Checkpoints interface {
	// Checkpoint makes an attempt's folder and hands it what the attempt before it finished, if that was anything.
	Checkpoint(key artifacts.Key, attempt int) (dir string, resumed bool, err error)
	// Checkpointed are the attempts that left a finished piece.
	Checkpointed(key artifacts.Key) ([]int, error)
	DropCheckpoints(key artifacts.Key) error
}

const (
	// resumedFile is in the workspace of an attempt that was handed something: an earlier build's, perhaps.
	resumedFile = "resumed"
	// observedResumed is the core's word: no worker's is taken for it.
	observedResumed = "resumed"
)

// keeps tells whether a stage has checkpoints: a native kind has no worker that could know of them. Those of a download that
// is not locked yet stand under its place.
func (b *builder) keeps(t *task) bool {
	return b.o.Checkpoints != nil && !t.step.Node.Stage.Kind.Native
}

// checkpoint names the attempt's folder in its request. A stage can do without one.
func (b *builder) checkpoint(t *task, at *attempt, req *protocol.Request) error {
	if !b.keeps(t) {
		return nil
	}
	dir, resumed, err := b.o.Checkpoints.Checkpoint(t.workKey(), at.number)
	if err != nil {
		t.report.warn(fmt.Sprintf("nothing will be kept of this attempt: %v", err))
		return nil
	}
	req.Checkpoint, at.resumed = dir, resumed
	if !resumed {
		return nil
	}
	if err := os.WriteFile(filepath.Join(at.ws.Dir, resumedFile), nil, 0o600); err != nil {
		return fmt.Errorf("noting what the attempt was handed: %w", err)
	}
	return nil
}

// keepers are the numbers of attempts at a key whose pieces are still there: a new one gets a number of its own.
func (b *builder) keepers(t *task) []int {
	if !b.keeps(t) {
		return nil
	}
	numbers, err := b.o.Checkpoints.Checkpointed(t.workKey())
	if err != nil {
		t.report.warn(err.Error())
	}
	return numbers
}

// dropCheckpoints: what is left in spite of it is swept after a build.
func (b *builder) dropCheckpoints(t *task) {
	if !b.keeps(t) {
		return
	}
	if err := b.o.Checkpoints.DropCheckpoints(t.workKey()); err != nil {
		t.report.warn(err.Error())
	}
}

func wasResumed(ws string) bool {
	_, err := os.Lstat(filepath.Join(ws, resumedFile))
	return err == nil
}
