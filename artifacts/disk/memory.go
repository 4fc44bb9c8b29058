package disk

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// plansDir holds what builds remember of themselves: a line with the digest of the rest, a line with the path of the recipe as
// JSON, and bytes of theirs.
const plansDir = "plans"

// forgetAfter is for how long something is remembered that no build asks for any more.
const forgetAfter = 30 * 24 * time.Hour

func planName(name artifacts.Digest) string { return plansDir + "/" + name.Hex() }

// Recall gives what Remember kept under a name; "" where there is nothing, or it is not what was kept: that costs time, and
// no correctness.
func (s *Store) Recall(name artifacts.Digest) string {
	f, err := s.root.Open(planName(name))
	if err != nil {
		return ""
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return ""
	}
	in := bufio.NewReader(f)
	want, err := in.ReadString('\n')
	if err != nil {
		return ""
	}
	var rest strings.Builder
	rest.Grow(int(fi.Size()))
	h := sha256.New()
	if _, err := in.WriteTo(io.MultiWriter(&rest, h)); err != nil || artifacts.Digest(h.Sum(nil)).String()+"\n" != want {
		return ""
	}
	_, text, _ := strings.Cut(rest.String(), "\n")
	return text
}

// Remember keeps what a build of a recipe wants to know the next time. It may fail, on a full disk for one: then the next build
// finds it out anew.
func (s *Store) Remember(name artifacts.Digest, recipePath string, b []byte) {
	owner, err := json.Marshal(recipePath)
	if err != nil {
		return
	}
	rest := append(append(owner, '\n'), b...)
	tmp, err := s.writeTemp(append([]byte(artifacts.Sum(rest).String()+"\n"), rest...), 0o644)
	if err != nil {
		return
	}
	_ = s.rename(tmp, planName(name))
}

// ForgetPlans removes what is remembered of recipes that are gone, or that nobody has built for long.
func (s *Store) ForgetPlans(ctx context.Context) error {
	err := s.eachEntry(ctx, plansDir, func(name string) error {
		at := plansDir + "/" + name
		b, err := s.root.ReadFile(at)
		if err != nil {
			return ignoreMissing(err)
		}
		var recipe string
		_, rest, _ := bytes.Cut(b, []byte("\n"))
		owner, _, _ := bytes.Cut(rest, []byte("\n"))
		if json.Unmarshal(owner, &recipe) == nil {
			fi, err := s.root.Stat(at)
			_, rerr := os.Stat(recipe)
			if err == nil && time.Since(fi.ModTime()) < forgetAfter && !errors.Is(rerr, fs.ErrNotExist) {
				return nil
			}
		}
		return ignoreMissing(s.root.Remove(at))
	})
	if err != nil {
		return fmt.Errorf("forgetting builds of recipes that are gone: %w", err)
	}
	return nil
}

// BlobFile and KeyFile are where a blob and the pointer of a key stand.
func (s *Store) BlobFile(d artifacts.Digest) string { return filepath.Join(s.dir, blobName(d)) }

func (s *Store) KeyFile(k artifacts.Key) string { return filepath.Join(s.dir, keysDir, k.Hex()) }

// Abandoned tells whether an attempt is in work/ that nobody has locked, of whatever key.
func (s *Store) Abandoned() (bool, error) {
	keys, err := fs.ReadDir(s.root.FS(), workDir)
	if err != nil {
		return false, fmt.Errorf("looking for workspaces: %w", err)
	}
	for _, e := range keys {
		d, err := artifacts.ParseHex(e.Name())
		if err != nil {
			continue
		}
		numbers, err := s.Attempts(artifacts.Key(d))
		if err != nil {
			return false, err
		}
		for _, n := range numbers {
			busy, err := isLocked(s.Path(artifacts.Key(d), n) + lockSuffix)
			if err != nil || !busy {
				return true, err
			}
		}
	}
	return false, nil
}
