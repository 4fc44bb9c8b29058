package shared_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/shared"
)

// turn turns a bit of a blob's file, as who writes to a hard link of it would; with decay as a disk would that loses it.
func (m *machine) turn(d artifacts.Digest, at int64, decay bool) error {
	path := filepath.Join(m.store.Dir(), artifacts.BlobsFolder, d.Hex())
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return err
	}
	b[0] ^= 2
	if _, err := f.WriteAt(b[:], at); err != nil || !decay {
		return err
	}
	return os.Chtimes(path, fi.ModTime(), fi.ModTime())
}

// TestAFileThatIsWrittenToIsNotShared: pieces are hashed while the file is read, so one that changes meanwhile would be made of other ones.
func TestAFileThatIsWrittenToIsNotShared(t *testing.T) {
	for what, at := range map[string]int64{"what is being sent": 5, "what is not read yet": 60<<20 - 1} {
		w := newWorld(t)
		a := w.machine(t)
		made := a.make("x", "a.bin="+noise(70, 60<<20))
		turn := sync.OnceValue(func() error { return a.turn(made.out.Files[0].Digest, at, false) })
		w.fail(func(op, name string) error {
			if op == "write" && strings.HasPrefix(name, "packs/") {
				return turn()
			}
			return nil
		})
		if err := a.share(made); err == nil {
			t.Errorf("%s: it was shared", what)
		}
		if names := append(w.names(t, "maps/"), w.names(t, "keys/")...); len(names) > 0 {
			t.Errorf("%s: the bucket has %v", what, names)
		}
		if _, err := a.store.Stat(context.Background(), made.out.Files[0].Digest); !errors.Is(err, artifacts.ErrDamaged) && !errors.Is(err, artifacts.ErrMissing) {
			t.Errorf("%s: the file is there still: %v", what, err)
		}
	}
}

// TestADecayedFileIsNotShared: a bit that a disk has lost leaves no trace in a file's times. Of a file that is there for a while the whole is hashed.
func TestADecayedFileIsNotShared(t *testing.T) {
	defer shared.Lately(0)()
	w := newWorld(t)
	a := w.machine(t)
	made := a.make("x", "a.bin="+noise(71, 40<<20))
	if err := a.turn(made.out.Files[0].Digest, 20<<20, true); err != nil {
		t.Fatal(err)
	}
	if err := a.share(made); !errors.Is(err, artifacts.ErrDamaged) {
		t.Errorf("sharing it: %v", err)
	}
	if names := append(w.names(t, "maps/"), w.names(t, "keys/")...); len(names) > 0 {
		t.Errorf("the bucket has %v", names)
	}
}

// TestADecayedFileIsNotServed: where such a file came into the bucket after all, whoever fetches it sees it, and has it made again.
func TestADecayedFileIsNotServed(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	a := w.machine(t)
	files := []string{"a.bin=" + noise(71, 40<<20)}
	made := a.make("x", files...)
	if err := a.turn(made.out.Files[0].Digest, 20<<20, true); err != nil {
		t.Fatal(err)
	}
	a.mustShare(made)
	b := w.machine(t)
	if _, _, err := b.joined.Lookup(ctx, made.key); err != nil {
		t.Fatal(err)
	}
	var lost *shared.Gone
	if err := b.remote.Fetch(ctx, made.out, nil); !errors.As(err, &lost) || !errors.Is(err, artifacts.ErrDamaged) {
		t.Fatalf("fetched: %v", err)
	}
	b.clean()
	b.heal(t, made, files)
}
