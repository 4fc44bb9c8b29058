package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Lease makes this process the one that builds key. While another one does, waiting is told what that one wrote as
// holder: once, and again each time that it changes. The lease of a process that dies is free at once. Losing a lease
// costs a needless run and nothing else.
func (s *Store) Lease(ctx context.Context, key artifacts.Key, holder []byte, waiting func(holder []byte)) (func() error, error) {
	path := filepath.Join(s.dir, leasesDir, key.Hex())
	if l := s.show(path, holder); l != nil {
		return l.remove, nil
	}
	var told []byte
	l, err := waitLock(ctx, path, leasePoll, func() {
		b, err := os.ReadFile(path)
		// Between taking the lock and writing the holder's name the file is empty.
		if err == nil && len(b) > 0 && !bytes.Equal(b, told) {
			told = b
			if waiting != nil {
				waiting(b)
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("lease of %s: %w", key.Short(), s.explain(err))
	}
	if err := os.WriteFile(path, holder, 0o666); err != nil {
		return nil, errors.Join(fmt.Errorf("lease of %s: %w", key.Short(), s.explain(err)), l.remove())
	}
	return l.remove, nil
}
