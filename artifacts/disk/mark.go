package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
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
	f, err := s.root.Open(strings.TrimSuffix(folder, "/"))
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking at %s: %w", folder, err)
	}
	defer f.Close()
	now := time.Now()
	list, err := f.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("looking at %s: %w", folder, err)
	}
	out := make(map[string]string, len(list))
	for _, e := range list {
		if !e.IsDir() {
			continue
		}
		fi, err := e.Info()
		if err != nil {
			out[e.Name()] = "" // gone since it was listed, which the next look tells
			continue
		}
		out[e.Name()] = markOf(fi, now)
	}
	return out, ctx.Err()
}

func markOf(fi fs.FileInfo, now time.Time) string {
	changed := max(changeTime(fi), fi.ModTime().UnixNano())
	if now.Sub(time.Unix(0, changed)) < racy {
		return ""
	}
	id := inodeOf(fi)
	b := strconv.AppendUint(make([]byte, 0, 64), id.dev, 36)
	b = strconv.AppendUint(append(b, '.'), id.ino, 36)
	b = strconv.AppendInt(append(b, '.'), fi.ModTime().UnixNano(), 36)
	return string(strconv.AppendInt(append(b, '.'), changed, 36))
}
