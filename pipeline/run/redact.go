package run

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"
)

// hidden stands where a secret stood.
const hidden = "***"

const (
	// shortest is the length in bytes below which a value cannot be hidden: replacing it would only riddle the log.
	shortest = 4
	// part is the length in bytes from which the beginning of a secret is hidden that goes on in the next line or is cut
	// off. Shorter ones end many a line by chance: in hex, two letters have four digits.
	part = 6
	// telling is the length in bytes from which a value does not stand somewhere by chance.
	telling = 8
)

// redactor knows the secrets of a build, in every spelling in which programs are known to print them.
type redactor struct {
	mu     sync.RWMutex // guards all
	known  map[string]bool
	sure   map[string]bool // those that are long and whole
	hides  *words          // of known; nil: nothing is secret
	ends   *words          // of known, each written backwards
	proves *words          // of sure
}

func newRedactor() *redactor { return &redactor{known: map[string]bool{}, sure: map[string]bool{}} }

// add makes the redactor know a secret; each line of a long one counts alone too, since parts of a key are printed.
func (r *redactor) add(secret string) { r.learn(secret, true) }

// addHidden is for what is only hidden: a proxy's password may be a word that a recipe has for reasons of its own.
func (r *redactor) addHidden(secret string) { r.learn(secret, false) }

func (r *redactor) learn(secret string, refused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(r.known) + len(r.sure)
	lines := strings.FieldsFunc(secret, func(c rune) bool { return c == '\n' || c == '\r' })
	for _, s := range append(lines, secret) {
		if s = strings.TrimSpace(s); len(s) < shortest {
			continue
		}
		for _, spelling := range spellings(s) {
			r.known[spelling] = true
			if refused && len(s) >= telling && s == strings.TrimSpace(secret) {
				r.sure[spelling] = true
			}
		}
	}
	if len(r.known)+len(r.sure) == before {
		return
	}
	all := slices.Sorted(maps.Keys(r.known))
	r.hides, r.proves = newWords(all), newWords(slices.Sorted(maps.Keys(r.sure)))
	for i, word := range all {
		all[i] = backwards(word)
	}
	r.ends = newWords(all)
}

// clean hides the secrets of a text that stands alone.
func (r *redactor) clean(s string) string { return r.hide(s, nil) }

// trail is how far into secrets the lines of a stream have led, in each reading.
type trail struct {
	at    [5]int32
	words *words // of which at are nodes
}

// follow hides the secrets of the next line of a stream, and the parts of one that goes on in the next line or began in
// an earlier one, be it of another stream. Of such a one the first bytes stay, where they are too few to be a part.
func (r *redactor) follow(t *trail, s string) string { return r.hide(s, t) }

func (r *redactor) hide(s string, t *trail) string {
	r.mu.RLock()
	words, ends := r.hides, r.ends
	r.mu.RUnlock()
	if words == nil || s == "" {
		return s
	}
	if t != nil && t.words != words { // a secret came to be known meanwhile
		*t = trail{words: words}
	}
	cover := make([]bool, len(s))
	var before *reading
	var from, to int32 // where the search stood before and after that reading
	for i, reading := range readings(s) {
		at := int32(0)
		if t != nil {
			at = t.at[i]
		}
		if reading == before && at == from { // nothing was encoded, as in most lines
			if t != nil {
				t.at[i] = to
			}
			continue
		}
		before, from = reading, at
		at = words.cover(reading, at, cover)
		to = at
		if t != nil {
			reading.hideLast(cover, len(reading.text), words.nodes[at].depth)
			t.at[i] = at
			if n := ends.beginning(reading.text); n >= part {
				reading.hideRange(cover, 0, n)
			}
		}
	}
	return masked(s, cover)
}

// cut is how tinfra's own messages end what they shorten.
var cut = []byte("…")

// cover marks what of the source are words, or the beginning of one that was cut off. at is where the search stands
// before and after.
func (w *words) cover(r *reading, at int32, cover []bool) int32 {
	last, end := at, 0           // where the search stood before blanks
	var found struct{ a, z int } // words that overlap are marked once
	for i, c := range r.text {
		if bytes.HasPrefix(r.text[i:], cut) {
			r.hideLast(cover, end, w.nodes[last].depth)
		}
		at = w.step(at, c)
		if n := w.nodes[at].found; n > 0 {
			a := max(0, i+1-n)
			if a > found.z {
				r.hideRange(cover, found.a, found.z)
				found.a = a
			}
			found.a, found.z = min(found.a, a), i+1
		}
		if c != ' ' {
			last, end = at, i+1
		}
	}
	r.hideRange(cover, found.a, found.z)
	return at
}

// beginning is how many of the first bytes of a text are the end of a word; w has the words backwards.
func (w *words) beginning(text []byte) int {
	at := int32(0)
	for i := min(len(text), w.longest) - 1; i >= 0; i-- {
		at = w.step(at, text[i])
	}
	return w.nodes[at].depth
}

func backwards(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

// hideLast marks the n bytes before end, where they are enough to count as part of a secret.
func (r *reading) hideLast(cover []bool, end, n int) {
	if n >= part {
		r.hideRange(cover, max(0, end-n), end)
	}
}

func (r *reading) hideRange(cover []bool, from, to int) {
	for i := from; i < to; i++ {
		if r.from == nil {
			cover[i] = true
			continue
		}
		for j := r.from[i]; j < r.to[i]; j++ {
			cover[j] = true
		}
	}
}

func masked(s string, cover []bool) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		from := i
		for i < len(s) && cover[i] == cover[from] {
			i++
		}
		if cover[from] {
			out.WriteString(hidden)
		} else {
			out.WriteString(s[from:i])
		}
	}
	return out.String()
}

// holds tells whether a text has a whole secret in it that does not stand there by chance.
func (r *redactor) holds(s string) bool {
	r.mu.RLock()
	words := r.proves
	r.mu.RUnlock()
	if words == nil {
		return false
	}
	var before *reading
	for _, reading := range readings(s) {
		if reading == before {
			continue
		}
		before = reading
		at := int32(0)
		for _, c := range reading.text {
			if at = words.step(at, c); words.nodes[at].found > 0 {
				return true
			}
		}
	}
	return false
}

func (r *redactor) cleanAll(m map[string]string) map[string]string {
	if m == nil {
		return nil
	}
	out := make(map[string]string, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) { // of two names that become one, always the same stays
		out[r.clean(k)] = r.clean(m[k])
	}
	return out
}
