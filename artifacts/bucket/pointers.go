package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// pointerFolders are where pointers lie, in bytewise order; format.md says what each is for.
var pointerFolders = []string{"builds/", "keys/", "leases/", "lost/", "records/", "refs/", "runs/"}

// maxPointer is the largest value of a pointer, in bytes. Ours have a hundred; a lease has some more.
const maxPointer = 64 << 10

// Get reads a pointer.
func (p *Place) Get(ctx context.Context, name string) ([]byte, artifacts.Version, error) {
	val, o, err := p.get(ctx, name)
	return val, o.Version, err
}

func (p *Place) get(ctx context.Context, name string) ([]byte, artifacts.Object, error) {
	if err := artifacts.CheckName(name); err != nil {
		return nil, artifacts.Object{}, err
	}
	return readSmall(ctx, p.objects, name, maxPointer)
}

// readSmall reads a whole object of at most limit bytes. A larger one is damage: nobody has written it for us.
func readSmall(ctx context.Context, objects artifacts.Objects, name string, limit int64) ([]byte, artifacts.Object, error) {
	r, o, err := objects.Read(ctx, name, 0, -1)
	if err != nil {
		return nil, artifacts.Object{}, fmt.Errorf("reading %s from the shared cache: %w", name, err)
	}
	defer r.Close()
	val, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, o, fmt.Errorf("reading %s from the shared cache: %w", name, err)
	case int64(len(val)) > limit:
		return nil, o, fmt.Errorf("%s in the shared cache: %w: it is larger than %d bytes", name, artifacts.ErrDamaged, limit)
	}
	return val, o, nil
}

// Set changes a pointer from the version old to val. A bucket of a single writer is asked what is there, and then told.
func (p *Place) Set(ctx context.Context, name string, val []byte, old artifacts.Version) (artifacts.Version, error) {
	if err := artifacts.CheckName(name); err != nil {
		return artifacts.Absent, err
	}
	if p.refusal != nil {
		return artifacts.Absent, p.refusal
	}
	condition := &old
	if p.alone {
		if err := p.compare(ctx, name, old); err != nil {
			return artifacts.Absent, err
		}
		condition = nil
	}
	o, err := p.objects.Write(ctx, name, artifacts.Text(val), condition)
	if err != nil {
		return artifacts.Absent, fmt.Errorf("writing %s to the shared cache: %w", name, err)
	}
	return o.Version, nil
}

// compare stands in for a condition where the bucket has none. Between it and the write another writer would go unseen, which is
// why there may be only one.
func (p *Place) compare(ctx context.Context, name string, old artifacts.Version) error {
	_, have, err := p.get(ctx, name)
	if err != nil && !errors.Is(err, artifacts.ErrMissing) {
		return err
	}
	if have.Version != old { // that of what is missing is Absent
		return fmt.Errorf("writing %s to the shared cache: %w", name, artifacts.ErrConflict)
	}
	return nil
}

// List gives the names that begin with prefix and come after the name after, in bytewise order. What no pointer can be called is
// left out: consoles of S3 make objects for folders, such as "keys/".
func (p *Place) List(ctx context.Context, prefix, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := artifacts.CheckPrefix(prefix); err != nil {
			yield("", err)
			return
		}
		for _, folder := range pointerFolders {
			if !p.list(ctx, folder, prefix, after, yield) {
				return
			}
		}
	}
}

// list is the part of a list that lies in one folder; false where it was the last.
func (p *Place) list(ctx context.Context, folder, prefix, after string, yield func(string, error) bool) bool {
	if strings.HasPrefix(folder, prefix) {
		prefix = folder
	}
	if !strings.HasPrefix(prefix, folder) {
		return true
	}
	if !strings.HasPrefix(after, folder) {
		if after > folder {
			return true
		}
		after = "" // a bucket need not know what it is to begin after a name of another folder
	}
	for name, err := range p.walk(ctx, prefix, after) {
		if err != nil {
			yield("", fmt.Errorf("listing %s in the shared cache: %w", folder, err))
			return false
		}
		if artifacts.CheckName(name) == nil && !yield(name, nil) {
			return false
		}
	}
	return true
}
