package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Present tells whether all blobs are there, with their sizes: ErrMissing or ErrDamaged where one is not. It asks of each
// what Stat does, and costs a tenth of it where they are many.
func (s *Store) Present(ctx context.Context, blobs []artifacts.Blob) error {
	folder, err := s.root.Open(blobsDir)
	if err != nil {
		return missing(err)
	}
	defer folder.Close()
	const part = 1 << 10
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for from := 0; from < len(blobs) && each.Err() == nil; from += part {
		g.Go(func() error { return s.presentIn(each, folder, blobs[from:min(from+part, len(blobs))]) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// presentIn asks Stat, which mends, of what is not as a blob should be.
func (s *Store) presentIn(ctx context.Context, folder *os.File, blobs []artifacts.Blob) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, b := range blobs {
		var st unix.Stat_t
		err := unix.Fstatat(int(folder.Fd()), b.Digest.Hex(), &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == b.Size && st.Mtim.Nano() == sealed.UnixNano() {
			continue
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("looking for blob %s: %w", b.Digest.Short(), err)
		}
		n, err := s.Stat(ctx, b.Digest)
		if err != nil {
			return fmt.Errorf("blob %s: %w", b.Digest.Short(), err)
		}
		if n != b.Size {
			return fmt.Errorf("blob %s: %w: %d bytes instead of %d", b.Digest.Short(), artifacts.ErrDamaged, n, b.Size)
		}
	}
	return nil
}
