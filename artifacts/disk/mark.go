package disk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Marks gives, for each folder directly below a folder of pointers, a text that is another one whenever names were added
// or removed since. It is "" for a folder that changed so lately that a further change might not show in its times.
func (s *Store) Marks(ctx context.Context, folder string) (map[string]string, error) {
	if err := artifacts.CheckPrefix(folder); err != nil {
		return nil, err
	}
	top := strings.TrimSuffix(folder, "/")
	names, err := s.entries(top)
	if err != nil {
		return nil, fmt.Errorf("looking at %s: %w", folder, err)
	}
	now := time.Now()
	out := map[string]string{}
	for _, n := range names {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		name, isDir := strings.CutSuffix(n, "/")
		if !isDir {
			continue
		}
		fi, err := os.Lstat(filepath.Join(s.dir, top, name))
		if err != nil {
			out[name] = "" // gone since it was listed, which the next look tells
			continue
		}
		changed := max(changeTime(fi), fi.ModTime().UnixNano())
		if now.Sub(time.Unix(0, changed)) < racy {
			out[name] = ""
			continue
		}
		id := inodeOf(fi)
		out[name] = fmt.Sprintf("%d.%d.%d.%d", id.dev, id.ino, fi.ModTime().UnixNano(), changed)
	}
	return out, nil
}
