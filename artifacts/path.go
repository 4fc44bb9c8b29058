package artifacts

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// ErrPath: a name from outside that must not touch a file system.
var ErrPath = errors.New("unsafe path")

// Limits that every common file system can keep.
const (
	maxPath    = 1024 // bytes of a whole path
	maxElement = 255  // bytes between two slashes
	fileSize   = 200  // bytes of a manifest for each file, but for its path
)

// CheckPath accepts a relative, slash-separated path that means the same on every system and stays below its root.
// It says nothing of links; whoever opens the path does so through os.Root.
func CheckPath(p string) error {
	bad := func(why string) error { return fmt.Errorf("%w %q: %s", ErrPath, clip(p), why) }
	switch {
	case p == "":
		return bad("it is empty")
	case len(p) > maxPath:
		return bad(fmt.Sprintf("it is longer than %d bytes", maxPath))
	case !utf8.ValidString(p):
		return bad("it is not UTF-8")
	case !norm.NFC.IsNormalString(p):
		return bad("it is not in Unicode normal form C")
	case p[0] == '/':
		return bad("it is absolute")
	case len(p) > 1 && p[1] == ':' && isLetter(p[0]):
		return bad("it begins with a drive letter")
	}
	for _, r := range p {
		switch {
		case r == '\\':
			return bad("it holds a backslash")
		case r < 0x20 || r == 0x7f:
			return bad("it holds a control character")
		}
	}
	for e := range strings.SplitSeq(p, "/") {
		switch {
		case e == "":
			return bad("it has an empty element")
		case e == "." || e == "..":
			return bad(fmt.Sprintf("it has an element %q", e))
		case len(e) > maxElement:
			return bad(fmt.Sprintf("it has an element longer than %d bytes", maxElement))
		}
	}
	return nil
}

// CheckFiles is what a list of files must fulfil to be laid out anywhere: safe paths, sorted bytewise, none twice, no
// two that differ only by letter case, no file that is another one's folder; and not more than a manifest holds.
func CheckFiles(files []File) error {
	type spelling struct {
		path string
		file bool
	}
	seen := make(map[string]spelling, len(files))
	size := 0 // of the manifest, at most
	for i, f := range files {
		if err := CheckPath(f.Path); err != nil {
			return err
		}
		if size += fileSize + len(f.Path) + strings.Count(f.Path, `"`); size > maxObject {
			return fmt.Errorf("a list of %d files with names as long as %q is larger than the %d MiB of a manifest: put them into fewer files",
				len(files), clip(f.Path), maxObject>>20)
		}
		if i > 0 {
			switch strings.Compare(files[i-1].Path, f.Path) {
			case 0:
				return fmt.Errorf("%w %q: it is listed twice", ErrPath, f.Path)
			case 1:
				return fmt.Errorf("%w %q: files are not sorted", ErrPath, f.Path)
			}
		}
		// The folders that the path shares with the one before it have been looked at.
		end := 0
		if i > 0 {
			end = sharedFolders(files[i-1].Path, f.Path)
		}
		for end < len(f.Path) {
			next := strings.IndexByte(f.Path[end:], '/')
			if next < 0 {
				end = len(f.Path)
			} else {
				end += next
			}
			here := spelling{f.Path[:end], end == len(f.Path)}
			name := folded(here.path)
			was, known := seen[name]
			switch {
			case !known:
				seen[name] = here
			case was.path != here.path:
				return fmt.Errorf("%w %q: it differs from %q only by letter case", ErrPath, here.path, was.path)
			case was.file != here.file:
				return fmt.Errorf("%w %q: it is both a file and a folder", ErrPath, here.path)
			}
			end++
		}
	}
	return nil
}

// sharedFolders is how long the beginning is that two paths have in common, in whole folders with their slashes.
func sharedFolders(a, b string) int {
	end := 0
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			break
		}
		if a[i] == '/' {
			end = i + 1
		}
	}
	return end
}

// folded is what a path has in common with all that differ from it by letter case only.
func folded(path string) string {
	for i := range len(path) {
		if path[i] >= utf8.RuneSelf {
			return norm.NFC.String(cases.Fold().String(path))
		}
	}
	return strings.ToLower(path)
}

// SortFiles puts files into the order of a Manifest.
func SortFiles(files []File) {
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
}

func isLetter(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }

// clip keeps hostile names out of messages' way.
func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
