package run

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// hidden stands where a secret stood.
const hidden = "***"

// shortest is the length below which a value is no secret worth hiding: replacing it would only riddle the log.
const shortest = 4

// redactor knows the secrets of a build, in every spelling in which programs are known to print them.
type redactor struct {
	mu       sync.RWMutex // guards both
	known    map[string]bool
	replacer *strings.Replacer
}

func newRedactor() *redactor { return &redactor{known: map[string]bool{}} }

// add makes the redactor know a secret; each line of a long one counts alone, since logs are read by lines.
func (r *redactor) add(secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range append(strings.Split(secret, "\n"), secret) {
		if s = strings.TrimSpace(s); len(s) < shortest {
			continue
		}
		for _, spelling := range spellings(s) {
			r.known[spelling] = true
		}
	}
	var all []string
	for s := range r.known {
		all = append(all, s)
	}
	// The longest first: a secret that begins with another is hidden whole.
	slices.SortFunc(all, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	var pairs []string
	for _, s := range all {
		pairs = append(pairs, s, hidden)
	}
	r.replacer = strings.NewReplacer(pairs...)
}

func (r *redactor) clean(s string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.replacer == nil || s == "" {
		return s
	}
	return r.replacer.Replace(s)
}

func (r *redactor) cleanAll(m map[string]string) map[string]string {
	if m == nil {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[r.clean(k)] = r.clean(v)
	}
	return out
}

func spellings(s string) []string {
	quoted, _ := json.Marshal(s)
	all := []string{s, url.QueryEscape(s), url.PathEscape(s), string(quoted[1 : len(quoted)-1])}
	for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			if part := inside64(alphabet, s, before); len(part) >= shortest {
				all = append(all, part)
			}
		}
	}
	return all
}

// inside64 is what base64 makes of s within a longer text, as in "user:password": those characters that depend on s
// alone, when its first byte stands at position `before` of a group of three.
func inside64(alphabet *base64.Encoding, s string, before int) string {
	code := alphabet.EncodeToString(append(bytes.Repeat([]byte{0}, before), s...))
	from := (before*8 + 5) / 6
	to := (before + len(s)) * 8 / 6
	if from >= to {
		return ""
	}
	return code[from:to]
}
