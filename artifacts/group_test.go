package artifacts_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
	"github.com/Ruihan11/tiny-infra/artifacts/storetest"
)

// batches is a place of batches whose first one waits, so that a test can say who is in the second.
type batches struct {
	*mem.Store
	fails func(artifacts.Payload) error

	entered, open chan struct{} // of the first batch
	first         sync.Once

	mu    sync.Mutex // guards sizes
	sizes []int      // of the batches of names
}

func newBatches() *batches {
	return &batches{
		Store: mem.New(), fails: func(artifacts.Payload) error { return nil },
		entered: make(chan struct{}), open: make(chan struct{}),
	}
}

// plain is for what is stored before anything is published.
func (b *batches) plain() *artifacts.Cache { return artifacts.NewCache(b.Store, b.Store) }

func (b *batches) StoreAll(ctx context.Context, all []artifacts.Batch) []error {
	b.first.Do(func() {
		close(b.entered)
		<-b.open
	})
	errs := make([]error, len(all))
	named := 0
	for i, one := range all {
		errs[i] = b.storeOne(ctx, one)
		if len(one.Names) > 0 {
			named++
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sizes = append(b.sizes, named)
	return errs
}

func (b *batches) storeOne(ctx context.Context, one artifacts.Batch) error {
	for _, p := range one.Blobs {
		if err := b.fails(p); err != nil {
			return err
		}
		if _, err := b.plain().PutBytes(ctx, p.MediaType, p.Bytes); err != nil {
			return err
		}
	}
	for _, c := range one.Names {
		if _, err := b.Set(ctx, c.Name, []byte(c.Value), c.Old); err != nil {
			return err
		}
	}
	return nil
}

// held publishes one record, whose batch waits until let go, and those of recs meanwhile; wait gives what became of each.
func held(t *testing.T, b *batches, c *artifacts.Cache, recs ...func(context.Context) error) (wait func() []error) {
	t.Helper()
	plug := result(t, b.plain(), "plug", 0, "f=plug")
	var all sync.WaitGroup
	all.Go(func() {
		if _, _, err := c.Publish(t.Context(), plug); err != nil {
			t.Error(err)
		}
	})
	<-b.entered
	errs := make([]error, len(recs))
	for i, publish := range recs {
		all.Go(func() { errs[i] = publish(t.Context()) })
	}
	for storetest.Waiting() < len(recs) {
		runtime.Gosched()
	}
	return func() []error {
		close(b.open)
		all.Wait()
		return errs
	}
}

func publisher(c *artifacts.Cache, rec *artifacts.Record, parts ...artifacts.Part) func(context.Context) error {
	return func(ctx context.Context) error {
		_, _, err := c.Publish(ctx, rec, parts...)
		return err
	}
}

func TestWhoComesMeanwhileIsPublishedTogether(t *testing.T) {
	b := newBatches()
	c := artifacts.NewCache(b, b)
	var recs []*artifacts.Record
	var all []func(context.Context) error
	for i := range 5 {
		recs = append(recs, result(t, b.plain(), fmt.Sprint(i), i, fmt.Sprintf("f=%d", i)))
		all = append(all, publisher(c, recs[i]))
	}
	if err := errors.Join(held(t, b, c, all...)()...); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(b.sizes, []int{1, 5}) {
		t.Errorf("groups of %v", b.sizes)
	}
	for _, rec := range recs {
		if got, _, err := c.Lookup(t.Context(), rec.Key); err != nil || got.Outputs["out"] != rec.Outputs["out"] {
			t.Errorf("%v, %v", got, err)
		}
	}
}

// What cannot be stored fails the one that needs it.
func TestAFailureInAGroupIsItsOwn(t *testing.T) {
	b := newBatches()
	c := artifacts.NewCache(b, b)
	good, bad := result(t, b.plain(), "good", 1, "f=good"), result(t, b.plain(), "bad", 2, "f=bad")
	full := errors.New("the disk is full")
	log := artifacts.LogPart([]byte("of the bad one"))
	b.fails = func(p artifacts.Payload) error {
		if p.Digest == log.Digest {
			return full
		}
		return nil
	}
	errs := held(t, b, c, publisher(c, good), publisher(c, bad, log))()
	if errs[0] != nil || !errors.Is(errs[1], full) {
		t.Errorf("%v", errs)
	}
	if _, _, err := c.Lookup(t.Context(), good.Key); err != nil {
		t.Error(err)
	}
	if left := names(t, c, "runs/"+bad.Key.Hex()); len(left) > 0 {
		t.Errorf("what failed has names: %v", left)
	}
}

func TestOfTwoRecordsOfAKeyInOneGroupOneWins(t *testing.T) {
	b := newBatches()
	c := artifacts.NewCache(b, b)
	recs := []*artifacts.Record{result(t, b.plain(), "same", 1, "f=one"), result(t, b.plain(), "same", 2, "f=two")}
	won := make([]artifacts.Digest, len(recs))
	var all []func(context.Context) error
	for i, rec := range recs {
		all = append(all, func(ctx context.Context) (err error) {
			_, won[i], err = c.Publish(ctx, rec)
			return err
		})
	}
	if err := errors.Join(held(t, b, c, all...)()...); err != nil {
		t.Fatal(err)
	}
	if won[0] != won[1] {
		t.Errorf("two winners: %v", won)
	}
	if runs := names(t, c, "runs/"+recs[0].Key.Hex()); len(runs) != 2 {
		t.Errorf("runs %v", runs)
	}
}

// One that nobody waits for any more goes, and those behind it go on without it.
func TestPublishingIsCancelled(t *testing.T) {
	b := newBatches()
	c := artifacts.NewCache(b, b)
	gone, stays := result(t, b.plain(), "gone", 1, "f=gone"), result(t, b.plain(), "stays", 2, "f=stays")
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	left := make(chan error, 1)
	wait := held(t, b, c, func(context.Context) error {
		err := publisher(c, gone)(ctx)
		left <- err
		return err
	}, publisher(c, stays))
	cancel(why)
	if err := <-left; !errors.Is(err, why) { // while the first batch is still being written
		t.Errorf("cancelled: %v", err)
	}
	if errs := wait(); errs[1] != nil {
		t.Error(errs[1])
	}
	if !slices.Equal(b.sizes, []int{1, 1}) || len(names(t, c, "runs/"+gone.Key.Hex())) > 0 {
		t.Errorf("groups of %v", b.sizes)
	}
	late := result(t, b.plain(), "late", 3, "f=late")
	if err := publisher(c, late)(ctx); !errors.Is(err, why) {
		t.Errorf("published by the dead: %v", err)
	}
	publish(t, c, late)
}

// Who has time waits for others, until one comes who has none.
func TestTheUnhurriedWaitForOthers(t *testing.T) {
	b := newBatches()
	c := artifacts.NewCache(b, b)
	close(b.open)
	calm := make(chan struct{})
	var all sync.WaitGroup
	for i := range 3 {
		rec := result(t, b.plain(), fmt.Sprint(i), i, fmt.Sprintf("f=%d", i))
		all.Go(func() {
			if _, _, err := c.Publish(artifacts.Unhurried(t.Context(), calm), rec); err != nil {
				t.Error(err)
			}
		})
	}
	publish(t, c, result(t, b.plain(), "now", 4, "f=now"))
	close(calm)
	all.Wait()
	sum := 0
	for _, n := range b.sizes {
		sum += n
	}
	if sum != 4 {
		t.Errorf("groups of %v", b.sizes)
	}
}
