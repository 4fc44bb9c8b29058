package shared_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
	"github.com/Ruihan11/tiny-infra/artifacts/shared"
)

func TestShareThenFindOnAnotherMachine(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	a := w.machine(t)
	made := a.make("x", "model/weights.bin="+noise(1, 5<<20), "config.json={}", "empty=", "again.json={}")
	a.mustShare(made)
	if !a.remote.Confirmed(made.record) {
		t.Error("what was shared is not confirmed")
	}
	if done, total := a.remote.Progress(); done != total || total < 5<<20 {
		t.Errorf("progress: %d of %d bytes", done, total)
	}

	b := w.machine(t)
	if _, _, err := b.cache.Lookup(ctx, made.key); !errors.Is(err, artifacts.ErrMissing) {
		t.Fatalf("before: %v", err)
	}
	w.since()
	rec, d, err := b.joined.Lookup(ctx, made.key)
	if err != nil || d != made.record {
		t.Fatalf("lookup beside the bucket: record %s, %v; want %s", d.Short(), err, made.record.Short())
	}
	if packs := count(w.since(), "read", "packs/"); packs != 0 {
		t.Errorf("a lookup has read %d packs", packs)
	}
	out, err := b.joined.Manifest(ctx, rec.Outputs["out"])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.joined.Action(ctx, made.key); err != nil {
		t.Fatal(err)
	}
	var done, total int64
	if err := b.remote.Fetch(ctx, out, func(d, n int64) { done, total = d, n }); err != nil {
		t.Fatal(err)
	}
	if done != total || total != 5<<20+2 {
		t.Errorf("told of %d of %d bytes", done, total)
	}
	b.has(made.out)
	w.since()
	if err := b.remote.Fetch(ctx, out, nil); err != nil || len(w.since()) != 0 {
		t.Errorf("fetching what is here has asked the bucket, or failed: %v", err)
	}
}

// Whoever waits for a single record is told of its end, be it a good one or not; of what was never shared there is nothing to wait for.
func TestAwaitOneResult(t *testing.T) {
	w := newWorld(t)
	m := w.machine(t)
	one, two := m.make("x", "a=a"), m.make("y", "b=b")
	m.remote.Await(one.record)
	m.remote.Share(one.record)
	m.remote.Await(one.record)
	if !m.remote.Confirmed(one.record) {
		t.Error("it is still on its way")
	}
	w.fail(func(string, string) error { return artifacts.ErrRefused })
	m.remote.Share(two.record)
	m.remote.Await(two.record)
	if err := m.remote.Wait(t.Context()); !errors.Is(err, artifacts.ErrRefused) {
		t.Errorf("Wait = %v", err)
	}
}

// TestShareOrder: at no moment does a name lead to what is not there yet.
func TestShareOrder(t *testing.T) {
	w := newWorld(t)
	m := w.machine(t)
	one, two := m.make("x", "a="+noise(2, 1<<20)), m.make("y", "b=y")
	build := m.build("r.hcl", 1, one, two)
	w.fail(func(op, name string) error {
		if op != "write" {
			return nil
		}
		if err := m.ready(name); err != nil {
			t.Errorf("%s is written %v", name, err)
		}
		return nil
	})
	m.remote.Share(one.record)
	m.remote.Share(two.record)
	if err := m.remote.ShareBuild(context.Background(), build); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"maps/", "packs/", "keys/", "runs/", "records/", "builds/", "refs/"} {
		if len(w.names(t, prefix)) == 0 {
			t.Errorf("nothing is in %s", prefix)
		}
	}
}

// ready says what a name leads to that is not in the bucket when it is written. The bucket itself is asked: what is under way is not there.
func (m *machine) ready(name string) error {
	ctx := context.Background()
	there := func(name string) error {
		for _, err := range m.world.Walk(ctx, name, "") {
			return err
		}
		return fmt.Errorf("before %s", name)
	}
	blob := func(d artifacts.Digest) error { return there(artifacts.BlobsFolder + d.Hex()) }
	folder, rest, _ := strings.Cut(name, "/")
	switch folder {
	case "blobs":
		d, err := artifacts.ParseHex(strings.TrimPrefix(rest, "sha256/"))
		if err != nil {
			return err
		}
		return m.readyBlob(d, blob, there)
	case "runs", "records", "keys":
		d, err := artifacts.ParseHex(name[strings.LastIndexByte(name, '/')+1:])
		if err != nil {
			return err
		}
		if folder != "keys" {
			return blob(d)
		}
		rec, d, err := m.cache.Lookup(ctx, artifacts.Key(d))
		if err != nil {
			return err
		}
		run, record, _ := rec.Names(d)
		err = errors.Join(blob(d), there(run), there(record))
		for _, out := range rec.Outputs {
			err = errors.Join(err, there("maps/"+out.Hex()))
		}
		return err
	}
	return nil
}

// readyBlob: actions and records come after what they name, and workers' files.
func (m *machine) readyBlob(d artifacts.Digest, blob func(artifacts.Digest) error, there func(string) error) error {
	ctx := context.Background()
	raw, err := m.cache.GetBytes(ctx, d)
	if err != nil {
		return err
	}
	if a, err := artifacts.DecodeAction(raw); err == nil {
		err := errors.Join(blob(a.Worker), blob(a.Env), there("maps/"+a.Worker.Hex()))
		for _, in := range a.Inputs {
			err = errors.Join(err, blob(in))
		}
		return err
	}
	if rec, err := artifacts.DecodeRecord(raw); err == nil {
		err := errors.Join(blob(rec.Key.Digest()), blob(rec.Log))
		for _, out := range rec.Outputs {
			err = errors.Join(err, blob(out), there("maps/"+out.Hex()))
		}
		return err
	}
	if b, err := artifacts.DecodeBuild(raw); err == nil {
		err := errors.Join(blob(b.Recipe), blob(b.Lock))
		for _, s := range b.Steps {
			if !s.Record.IsZero() {
				err = errors.Join(err, blob(s.Record), there(artifacts.KeyName(s.Key)))
			}
			err = errors.Join(err, blob(s.Log))
		}
		return err
	}
	return nil
}

func TestSecondShareSendsNothing(t *testing.T) {
	w := newWorld(t)
	m := w.machine(t)
	made := m.make("x", "a="+noise(3, 1<<20), "b=b")
	m.mustShare(made)
	w.since()
	m.mustShare(made)
	if calls := w.since(); len(calls) != 0 {
		t.Errorf("the same process asked again: %v", calls)
	}
	m.again()
	m.mustShare(made)
	if calls := w.since(); len(calls) != 1 || calls[0].op != "read" {
		t.Errorf("another process: %v; want one read, of the key", calls)
	}
	// Another record with the same output and worker: of bytes, nothing is sent again.
	m.again()
	m.mustShare(m.make("y", "a="+noise(3, 1<<20), "b=b"))
	calls := w.since()
	if n := count(calls, "write", "packs/") + count(calls, "write", "maps/"); n != 0 {
		t.Errorf("equal trees were sent again: %d writes", n)
	}
}

func TestTwoSharersOneKey(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	var made []result
	var machines []*machine
	for i := range 4 {
		m := w.machine(t)
		machines = append(machines, m)
		made = append(made, m.makeAt("x", i, "a="+noise(uint64(5+i), 300<<10)))
	}
	for i, m := range machines {
		m.remote.Share(made[i].record)
	}
	for _, m := range machines {
		if err := m.remote.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if runs := w.names(t, "runs/"); len(runs) != 4 {
		t.Errorf("%d runs are listed, want 4", len(runs))
	}
	fifth := w.machine(t)
	rec, d, err := fifth.remote.Find(ctx, made[0].key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := fifth.remote.Joined().Open(ctx, rec.Outputs["out"], 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	out.Close()
	won := 0
	for _, one := range made {
		if one.record == d {
			won++
			if err := fifth.remote.Fetch(ctx, one.out, nil); err != nil {
				t.Error(err)
			}
			fifth.has(one.out)
		}
	}
	if won != 1 {
		t.Errorf("the key leads to %s, which nobody made", d.Short())
	}
}

// TestFailedShareIsTold: who waits is told, and the next one goes on.
func TestFailedShareIsTold(t *testing.T) {
	w := newWorld(t)
	m := w.machine(t)
	var all []result
	for i := range 30 {
		all = append(all, m.make(fmt.Sprint(i), "a=1"))
	}
	down := fmt.Errorf("%w: connection refused", artifacts.ErrUnreachable)
	w.since()
	w.fail(func(string, string) error { return down })
	err := m.share(all...)
	if !errors.Is(err, artifacts.ErrUnreachable) || !strings.Contains(err.Error(), "30 results") {
		t.Errorf("told: %v", err)
	}
	if n := len(w.since()); n > 8 {
		t.Errorf("a bucket that does not answer was asked %d times", n)
	}
	if err := m.remote.ShareBuild(context.Background(), m.build("r.hcl", 1, all...)); !errors.Is(err, artifacts.ErrUnreachable) {
		t.Errorf("sharing the build: %v", err)
	}
	w.fail(func(op, name string) error { // the build itself would go through
		if op == "write" && strings.HasPrefix(name, "keys/") {
			return down
		}
		return nil
	})
	if err := m.remote.ShareBuild(context.Background(), m.build("r.hcl", 2, all...)); !errors.Is(err, artifacts.ErrUnreachable) {
		t.Errorf("sharing the build: %v", err)
	}
	w.fail(nil)
	if got := w.names(t, "builds/"); len(got) != 0 {
		t.Errorf("a build was shared whose results are not there: %v", got)
	}
	m.mustShare(m.make("last", "a=1")) // which takes the others along
	if keys := w.names(t, "keys/"); len(keys) != 31 {
		t.Errorf("%d keys are there, want 31", len(keys))
	}
}

func TestEndedWaitEndsWhatIsUnderWay(t *testing.T) {
	w := newWorld(t)
	m := w.machine(t)
	made := m.make("x", "a="+noise(9, 1<<20))
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("the person has had enough")
	w.fail(func(op, name string) error {
		if op == "write" {
			cancel(stop)
		}
		return nil
	})
	m.remote.Share(made.record)
	if err := m.remote.Wait(ctx); !errors.Is(err, stop) {
		t.Errorf("waiting: %v, want its cause", err)
	}
	if keys := w.names(t, "keys/"); len(keys) != 0 {
		t.Errorf("a key was written afterwards: %v", keys)
	}
}

// A context that ends when all is there has ended nothing.
func TestAnEndedWaitForWhatIsThereIsNone(t *testing.T) {
	w := newWorld(t)
	m := w.machine(t)
	m.mustShare(m.make("x", "a=1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.remote.Wait(ctx); err != nil {
		t.Errorf("Wait = %v, although all is there", err)
	}
}

// TestOnlyWriterInABucketWithoutConditions: who vouches for being alone needs none.
func TestOnlyWriterInABucketWithoutConditions(t *testing.T) {
	ctx := context.Background()
	w := &world{under: mem.NewBucket(), plain: true}
	w.place = must[*bucket.Place](t)(bucket.Create(ctx, w, bucket.Settings{
		SingleWriter: true,
		Note: func(context.Context) (bucket.Format, error) {
			return bucket.Format{Listing: bucket.Ordered, Tinfra: "test"}, nil
		},
	}))
	m := w.machine(t)
	made := m.make("x", "a=1")
	if err := m.remote.ShareBuild(ctx, m.build("r.hcl", 1, made)); err != nil {
		t.Fatal(err)
	}
	w.whole(t, made, true)
}

func TestReadOnlySharesNothing(t *testing.T) {
	w := newWorld(t)
	a := w.machine(t)
	made := a.make("x", "a=1")
	a.mustShare(made)
	b := w.machine(t)
	reader := shared.New(shared.Options{Read: []*bucket.Place{w.place}, Local: b.store})
	if _, d, err := reader.Find(context.Background(), made.key); err != nil || d != made.record {
		t.Fatalf("found %s: %v", d.Short(), err)
	}
	other := b.make("y", "b=1")
	w.since()
	reader.Share(other.record)
	if err := errors.Join(reader.Wait(context.Background()), reader.ShareBuild(context.Background(), b.build("r.hcl", 1, other))); err != nil {
		t.Fatal(err)
	}
	if calls := w.since(); len(calls) != 0 {
		t.Errorf("a reader has asked: %v", calls)
	}
}
