package lineage_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/lineage"
)

func TestSyncIsIncrementalAndIdempotent(t *testing.T) {
	w, _ := onDisk(t)
	c := w.chain()
	x := w.index()
	before := everything(t, x)
	w.must(x.Sync(t.Context(), w.cache))
	if after := everything(t, x); !reflect.DeepEqual(before, after) {
		t.Error("a second Sync changed the index")
	}
	// A machine that shares the cache adds a record to a day long gone.
	w.now = w.now.AddDate(-1, 0, 0)
	late := w.publish(what{kind: "late", outputs: map[string]string{"out": "x"}})
	w.must(x.Sync(t.Context(), w.cache))
	runs, err := x.Runs(t.Context(), lineage.Filter{Kind: "late"})
	w.must(err)
	if got := records(runs); !slices.Equal(got, digests(late)) {
		t.Errorf("the late record is not there: %v", got)
	}
	if n := len(everything(t, x)["runs"]); n != 6 {
		t.Errorf("%d runs, want 6", n)
	}
	_ = c
}

func TestApplyKnowsARunBeforeSync(t *testing.T) {
	for _, disk := range []bool{false, true} {
		w := newWorld(t)
		if disk {
			w, _ = onDisk(t)
		}
		x := w.index()
		r := w.unpublished(what{kind: "make", params: `{"a":1}`, outputs: map[string]string{"out": "hello"}, metrics: map[string]float64{"m": 1}})
		for range 2 {
			w.must(x.Apply(t.Context(), r.action, r.Record))
			runs, err := x.Runs(t.Context(), lineage.Filter{})
			w.must(err)
			if len(runs) != 1 || runs[0].Record != r.digest || runs[0].Metrics["m"] != 1 {
				t.Fatalf("after Apply: %+v", runs)
			}
		}
		if _, _, err := w.cache.Publish(t.Context(), r.Record); err != nil {
			t.Fatal(err)
		}
		w.must(x.Sync(t.Context(), w.cache))
		runs, err := x.Runs(t.Context(), lineage.Filter{})
		w.must(err)
		if len(runs) != 1 || runs[0].OutputBytes != 5 {
			t.Errorf("after Sync: %+v", runs)
		}
		other := *r.action
		other.Salt = "another"
		if err := x.Apply(t.Context(), &other, r.Record); err == nil {
			t.Error("a record was applied with an action that is not its own")
		}
	}
}

// TestDeletedIndexIsRebuilt deletes the file under an open index and in between two.
func TestDeletedIndexIsRebuilt(t *testing.T) {
	w, store := onDisk(t)
	w.chain()
	x := w.index()
	want := everything(t, x)
	for _, suffixes := range [][]string{{""}, {"", "-wal", "-shm"}, {"", "-wal", "-shm", ".lock"}, {"-wal"}, {"-shm"}} {
		for _, open := range []bool{true, false} {
			if !open {
				w.must(x.Close())
			}
			for _, suffix := range suffixes {
				if err := os.Remove(w.path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
			}
			if !open {
				x = w.index()
			}
			w.must(x.Sync(t.Context(), w.cache))
			if got := everything(t, x); !reflect.DeepEqual(got, want) {
				t.Errorf("deleted %q, open %v: the rebuilt index says something else", suffixes, open)
			}
		}
	}
	_ = store
}

func TestUnusableIndexIsThrownAway(t *testing.T) {
	w, _ := onDisk(t)
	w.chain()
	first := w.index()
	want := everything(t, first)
	w.must(first.Close()) // nobody throws away what another has open
	for name, ruin := range map[string]func(path string) error{
		"text": func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o644)
		},
		"half":      func(path string) error { return os.Truncate(path, size(t, path)/2) },
		"a page":    func(path string) error { return os.Truncate(path, 4096) },
		"some byte": func(path string) error { return os.Truncate(path, 100) },
		"zeros":     func(path string) error { return overwrite(path, 4096, size(t, path)-4096) },
		"stranger": func(path string) error {
			return errors.Join(os.Remove(path), other(path, "CREATE TABLE notes (text)"))
		},
		"newer":    func(path string) error { return other(path, "PRAGMA user_version = 7") },
		"a table":  func(path string) error { return other(path, "DROP VIEW metrics") },
		"no index": func(path string) error { return other(path, "DROP INDEX _run_day") },
	} {
		t.Run(name, func(t *testing.T) {
			x, err := lineage.Open(t.Context(), w.path)
			w.must(err)
			w.must(x.Sync(t.Context(), w.cache))
			w.must(x.Close())
			for _, suffix := range []string{"-wal", "-shm"} {
				_ = os.Remove(w.path + suffix)
			}
			w.must(ruin(w.path))
			x, err = lineage.Open(t.Context(), w.path)
			w.must(err)
			defer x.Close()
			w.must(x.Sync(t.Context(), w.cache))
			got := everything(t, x)
			if !reflect.DeepEqual(got, want) {
				t.Error("the index that was made again says something else")
			}
			notes := x.Notes()
			if len(notes) != 1 || !strings.Contains(notes[0], "thrown away") {
				t.Errorf("notes: %q", notes)
			}
			if x.Path() != w.path || len(x.Notes()) != 0 {
				t.Errorf("the index is at %s, and has more to say", x.Path())
			}
		})
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Size()
}

func overwrite(path string, off, n int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, n), off)
	return errors.Join(err, f.Close())
}

func TestDamagedRecordIsNamedAndTheRestGoesOn(t *testing.T) {
	w, store := onDisk(t)
	c := w.chain()
	whole := everything(t, w.index())
	w.must(os.Remove(w.path))
	paths := map[string]string{ // what is damaged → the name that is told
		c.four.digest.Hex():                               "records/2026-03-01/" + c.four.digest.Hex(),
		c.scoreThree.Key.Hex():                            "records/2026-03-01/" + c.scoreThree.digest.Hex(),
		c.base.Outputs["model"].Hex():                     "",
		mustEncode(t, c.first).Hex():                      "builds/2026-03-01/" + mustEncode(t, c.first).Hex(),
		"../../records/2026-03-01/no-digest":              "records/2026-03-01/no-digest",
		"../../records/2020-01-01/misplaced":              "",
		"../../records/2020-01-01/" + c.base.digest.Hex(): "records/2020-01-01/" + c.base.digest.Hex(),
	}
	saved := map[string][]byte{}
	var want []string
	for hex, name := range paths {
		path := filepath.Join(store.Dir(), "blobs/sha256", hex)
		saved[path], _ = os.ReadFile(path)
		w.must(os.MkdirAll(filepath.Dir(path), 0o755))
		if strings.HasSuffix(hex, "misplaced") {
			continue
		}
		_ = os.Remove(path)
		w.must(os.WriteFile(path, []byte("damaged"), 0o644))
		if name != "" {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	x := w.index()
	skipped, err := x.Skipped(t.Context())
	w.must(err)
	var got []string
	for _, s := range skipped {
		got = append(got, s.Name)
		if s.Problem == "" {
			t.Errorf("nothing is said of %s", s.Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("skipped %q\nwant    %q", got, want)
	}
	runs, err := x.Runs(t.Context(), lineage.Filter{})
	w.must(err)
	if got, want := records(runs), digests(c.three, c.scoreFour, c.base); !slices.Equal(got, want) {
		t.Errorf("the rest is %v, want %v", got, want)
	}
	// What is whole again is known again, without any name having changed.
	for path, b := range saved {
		_ = os.Remove(path)
		if b != nil {
			w.must(os.WriteFile(path, b, 0o444))
		}
	}
	w.must(x.Sync(t.Context(), w.cache))
	if got := everything(t, x); !reflect.DeepEqual(got, whole) {
		t.Errorf("mended, the index says\n%v\nwant\n%v", got, whole)
	}
	if skipped, err := x.Skipped(t.Context()); err != nil || len(skipped) != 0 {
		t.Errorf("mended, these are still skipped: %v %v", skipped, err)
	}
}

func mustEncode(t *testing.T, b *artifacts.Build) artifacts.Digest {
	t.Helper()
	_, d, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestWhatTheCacheForgetsTheIndexForgets(t *testing.T) {
	w, store := onDisk(t)
	c := w.chain()
	x := w.index()
	for name, err := range store.List(t.Context(), "", "") {
		w.must(err)
		if strings.HasSuffix(name, c.three.digest.Hex()) || strings.HasSuffix(name, c.scoreThree.digest.Hex()) ||
			strings.HasSuffix(name, mustEncode(t, c.second).Hex()) {
			w.must(store.Delete(t.Context(), name))
		}
	}
	w.must(x.Sync(t.Context(), w.cache))
	got := everything(t, x)
	w.must(x.Close())
	w.must(os.Remove(w.path))
	if fresh := everything(t, w.index()); !reflect.DeepEqual(got, fresh) {
		t.Errorf("the index kept something:\n%v\na fresh one says\n%v", got, fresh)
	}
	if len(got["runs"]) != 3 || len(got["builds"]) != 1 {
		t.Errorf("%d runs and %d builds are left", len(got["runs"]), len(got["builds"]))
	}
}

// TestManyIndexesOfOneFile: as many processes would, since SQLite's locks and ours are by open file.
func TestManyIndexesOfOneFile(t *testing.T) {
	w, _ := onDisk(t)
	for i := range 40 {
		w.publish(what{kind: "make", params: fmt.Sprintf(`{"n":%d}`, i), outputs: map[string]string{"out": fmt.Sprint(i)}})
	}
	w.must(os.WriteFile(w.path, []byte("rubbish that all of them find"), 0o644))
	var wait sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wait.Go(func() {
			x, err := lineage.Open(t.Context(), w.path)
			if err == nil {
				err = errors.Join(x.Sync(t.Context(), w.cache), x.Sync(t.Context(), w.cache))
				runs, rerr := x.Runs(t.Context(), lineage.Filter{})
				if len(runs) != 40 {
					err = errors.Join(err, fmt.Errorf("%d runs", len(runs)))
				}
				err = errors.Join(err, rerr, x.Close())
			}
			errs[i] = err
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if n := len(everything(t, w.index())["runs"]); n != 40 {
		t.Errorf("%d runs, want 40", n)
	}
}

func TestIndexWithoutAPlaceIsKeptElsewhere(t *testing.T) {
	w, store := onDisk(t)
	w.chain()
	want := everything(t, w.index())
	w.path = filepath.Join(store.Dir(), "format", lineage.FileName) // below a file
	x, err := lineage.Open(t.Context(), w.path)
	w.must(err)
	w.must(x.Sync(t.Context(), w.cache))
	if got := everything(t, x); !reflect.DeepEqual(got, want) {
		t.Error("the index elsewhere says something else")
	}
	if notes := x.Notes(); len(notes) != 1 || !strings.Contains(notes[0], "cannot be used") {
		t.Errorf("notes: %q", notes)
	}
	place := x.Path()
	w.must(x.Close())
	if _, err := os.Stat(filepath.Dir(place)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left behind: %v", place, err)
	}
}

func TestInterruptedSyncGoesOnLater(t *testing.T) {
	w := newWorld(t)
	w.chain()
	x, err := lineage.Open(t.Context(), w.path)
	w.must(err)
	defer x.Close()
	stop := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	x.Progress = func(int, int) { cancel(stop) }
	if err := x.Sync(ctx, w.cache); !errors.Is(err, stop) {
		t.Fatalf("Sync = %v", err)
	}
	x.Progress = nil
	w.must(x.Sync(t.Context(), w.cache))
	if n := len(everything(t, x)["runs"]); n != 5 {
		t.Errorf("%d runs, want 5", n)
	}
}

func TestClosedIndexSaysSo(t *testing.T) {
	w := newWorld(t)
	x := w.index()
	w.must(x.Close())
	if _, err := x.Runs(t.Context(), lineage.Filter{}); err == nil {
		t.Error("a closed index answers")
	}
	if err := x.Close(); err != nil {
		t.Errorf("closing it again: %v", err)
	}
}

// A value may change where SQLite sees nothing wrong: only a comparison with the records finds that.
func TestVerifyComparesWithTheRecords(t *testing.T) {
	w, _ := onDisk(t)
	w.chain()
	x := w.index()
	want := everything(t, x)
	w.must(x.Close())
	for _, change := range []string{
		`UPDATE _run SET metrics = replace(metrics, '1', '2')`,
		`UPDATE _run SET builder = 'someone'`,
		`UPDATE _action SET kind = 'other'`,
		`UPDATE _artifact SET bytes = bytes + 1`,
		`DELETE FROM _output`,
		`UPDATE _day SET day = '2020-01-01'`,
	} {
		if problem, err := lineage.Verify(t.Context(), w.path, w.cache, true); problem != nil || err != nil {
			t.Fatalf("before %s: %v, %v", change, problem, err)
		}
		w.must(other(w.path, change))
		problem, err := lineage.Verify(t.Context(), w.path, w.cache, true)
		if err != nil {
			t.Fatal(err)
		}
		if problem == nil && !strings.Contains(change, "_day") { // a wrong day is only looked at again
			t.Errorf("%s: nothing is found", change)
		}
		w.must(lineage.Rebuild(t.Context(), w.path, w.cache))
	}
	x = w.index()
	defer x.Close()
	if got := everything(t, x); !reflect.DeepEqual(got, want) {
		t.Error("the index that was made again says something else")
	}
}
