package env

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

var (
	pinned = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)(\[[A-Za-z0-9._, -]*\])?\s*==\s*([A-Za-z0-9][A-Za-z0-9.!+_-]*)\s*(?:;\s*(.+))?$`)
	})
	comment  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(^|\s)#.*$`) })
	nameSeps = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[-_.]+`) })
)

// normalise reads a requirements.lock: one entry a package, sorted, without comments, hashes sorted. Whatever does not
// pin a package by version and hash is refused: an address or an option would make the lock mean something else on
// another machine.
func normalise(text string) ([]string, error) {
	var entries []string
	var errs []error
	var parts []string // of a line that goes on behind a backslash
	start := 0
	for i, part := range strings.Split(text, "\n") {
		if len(parts) == 0 {
			start = i + 1
		}
		part, more := strings.CutSuffix(strings.TrimRight(part, " \t\r"), `\`)
		if strings.Contains(part, "#") {
			part = comment().ReplaceAllString(part, "")
		}
		parts = append(parts, part)
		if more {
			continue
		}
		line := strings.Join(parts, " ")
		if strings.TrimSpace(line) != "" {
			entry, err := entry(line)
			if err != nil {
				errs = append(errs, fmt.Errorf("line %d: %w", start, err))
			}
			entries = append(entries, entry)
		}
		parts = parts[:0]
	}
	if strings.TrimSpace(strings.Join(parts, " ")) != "" {
		errs = append(errs, fmt.Errorf("line %d: it goes on after the end of the file", start))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	slices.Sort(entries)
	if twice := firstTwice(entries); twice != "" {
		return nil, fmt.Errorf("%s is there twice", twice)
	}
	return append([]string{}, entries...), nil
}

// entry is one package: `name==version ; marker --hash=… --hash=…`, in one spelling.
func entry(line string) (string, error) {
	var words, hashes []string
	for _, word := range strings.Fields(line) {
		switch {
		case hashed(word):
			hashes = append(hashes, word)
		case strings.HasPrefix(word, "-"):
			return "", fmt.Errorf("%q: only packages with --hash=sha256:… may stand in a lock, no options", word)
		default:
			words = append(words, word)
		}
	}
	requirement := strings.Join(words, " ")
	found := pinned().FindStringSubmatch(requirement)
	if found == nil {
		return "", fmt.Errorf("%q is not of the form name==version", requirement)
	}
	if len(hashes) == 0 {
		return "", fmt.Errorf("%s has no --hash=sha256:…", requirement)
	}
	slices.Sort(hashes)
	out := normalName(found[1]) + strings.ReplaceAll(found[2], " ", "") + "==" + found[3]
	if found[4] != "" {
		out += " ; " + found[4]
	}
	return out + " " + strings.Join(slices.Compact(hashes), " "), nil
}

// hashed tells --hash=sha256:…; a large lock has thousands, and is read on every build.
func hashed(word string) bool {
	digest, ok := strings.CutPrefix(word, "--hash=sha256:")
	return ok && len(digest) == 64 && strings.Trim(digest, "0123456789abcdef") == ""
}

func firstTwice(sorted []string) string {
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			name, _, _ := strings.Cut(sorted[i], " ")
			return name
		}
	}
	return ""
}
