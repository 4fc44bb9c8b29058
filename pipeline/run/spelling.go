package run

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// spellings are the ways in which programs write a secret that a reading does not undo, without what readings skip.
func spellings(s string) []string {
	code := hex.EncodeToString([]byte(s))
	all := []string{
		s, strings.ToValidUTF8(s, "\uFFFD"), latin1(s), strings.ReplaceAll(s, " ", "+"), html.EscapeString(s),
		code, strings.ToUpper(code),
	}
	for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			all = append(all, inside64(alphabet, s, before))
		}
	}
	all = append(all, dumps(s)...)
	for i, one := range all {
		all[i] = string(read(one).skipped().text)
	}
	return slices.DeleteFunc(all, func(one string) bool { return len(one) < shortest })
}

// longestDump is the length in bytes up to which a secret is looked for in dumps: each byte of it takes twenty there.
const longestDump = 512

// dumps are how od, xxd and tcpdump show bytes, and how languages show a list of them.
func dumps(s string) []string {
	if len(s) > longestDump {
		return nil
	}
	var all []string
	for _, form := range []struct{ one, between string }{{"%02x", " "}, {"%02X", " "}, {"%02x", ":"}, {"%02X", ":"}, {"%d", ", "}, {"0x%02x", ", "}} {
		var b strings.Builder
		for i := range len(s) {
			if i > 0 {
				b.WriteString(form.between)
			}
			fmt.Fprintf(&b, form.one, s[i])
		}
		all = append(all, b.String())
	}
	return all
}

// latin1 has one byte for each character that needs no more, as in Python's '\xe4'.
func latin1(s string) string {
	var b []byte
	for _, r := range s {
		if r < 0x100 {
			b = append(b, byte(r))
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return string(b)
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

// reading is a text as someone reads it who undoes an encoding. Byte i of it is what source[from[i]:to[i]] says; of the
// source itself there are no from and to.
type reading struct {
	text     []byte
	from, to []int
}

func read(s string) *reading { return &reading{text: []byte(s)} }

// place is what of the source says bytes i to j.
func (r *reading) place(i, j int) (from, to int) {
	if r.from == nil {
		return i, j + 1
	}
	return r.from[i], r.to[j]
}

// readings are the texts in which secrets are looked for. Their number and order are always the same: words are followed
// in each of them from line to line.
func readings(s string) [5]*reading {
	plain := read(s)
	seen := plain.skipped()
	all := [5]*reading{seen, seen, seen, seen, seen}
	if strings.ContainsRune(s, '%') {
		all[1] = plain.decoded(unpercent).skipped()
	}
	if strings.ContainsRune(s, '\\') { // JSON in JSON is common, and our own messages quote it once more
		for i := 2; i < len(all); i++ {
			if bytes.IndexByte(plain.text, '\\') < 0 {
				all[i] = all[i-1] // there is no more to undo
				continue
			}
			plain = plain.decoded(unescape)
			all[i] = plain.skipped()
		}
	}
	return all
}

// decoded replaces what decode knows. decode gets what follows and gives the bytes that its first n bytes stand for;
// n is 0 where they stand for themselves.
func (r *reading) decoded(decode func(rest []byte) (as []byte, n int)) *reading {
	n := len(r.text)
	out := &reading{text: make([]byte, 0, n), from: make([]int, 0, n), to: make([]int, 0, n)}
	for i := 0; i < len(r.text); {
		as, n := decode(r.text[i:])
		if n == 0 {
			as, n = r.text[i:i+1], 1
		}
		for _, c := range as {
			from, to := r.place(i, i+n-1)
			out.text, out.from, out.to = append(out.text, c), append(out.from, from), append(out.to, to)
		}
		i += n
	}
	return out
}

// skipped leaves out what is not seen on a terminal: control characters, line ends among them, and escape sequences.
func (r *reading) skipped() *reading {
	if !bytes.ContainsFunc(r.text, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return r
	}
	return r.decoded(func(rest []byte) ([]byte, int) {
		if rest[0] >= ' ' && rest[0] != 0x7f {
			return nil, 0
		}
		if rest[0] != 0x1b || len(rest) == 1 || rest[1] != '[' {
			return nil, 1
		}
		for i := 2; i < len(rest); i++ {
			switch {
			case rest[i] >= '@' && rest[i] <= '~':
				return nil, i + 1
			case rest[i] < ' ' || rest[i] > '~': // it was cut off
				return nil, i
			}
		}
		return nil, len(rest)
	})
}

// unpercent undoes %2F, as URLs and forms have it.
func unpercent(rest []byte) ([]byte, int) {
	if rest[0] != '%' {
		return nil, 0
	}
	return byteOf(rest, 1)
}

// unescape undoes the backslashes of JSON, of Go's %q and of Python's repr.
func unescape(rest []byte) ([]byte, int) {
	if rest[0] != '\\' {
		return nil, 0
	}
	if len(rest) == 1 || bytes.HasPrefix(rest[1:], cut) {
		return nil, 1
	}
	switch c := rest[1]; c {
	case '"', '\'', '\\', '/':
		return rest[1:2], 2
	case 'n', 'r', 't', 'b', 'f', 'a', 'v':
		return []byte{'\n'}, 2 // skipped, whichever it is
	case 'x':
		return byteOf(rest, 2)
	case 'u':
		return runeOf(rest, 4)
	case 'U':
		return runeOf(rest, 8)
	default:
		return nil, 0
	}
}

// cutOff is the length of a code of which fewer digits than these, from position at on, are there before the cut: it
// stands for nothing. It is 0 for others.
func cutOff(rest []byte, at, digits int) int {
	for i := at; i < min(len(rest), at+digits); i++ {
		if bytes.HasPrefix(rest[i:], cut) {
			return i
		}
		if !strings.ContainsRune("0123456789abcdefABCDEF", rune(rest[i])) {
			return 0
		}
	}
	if len(rest) < at+digits && len(rest) >= at {
		return len(rest)
	}
	return 0
}

// byteOf reads two hex digits that stand at position at.
func byteOf(rest []byte, at int) ([]byte, int) {
	if n := cutOff(rest, at, 2); n > 0 {
		return nil, n
	}
	if len(rest) < at+2 {
		return nil, 0
	}
	v, err := strconv.ParseUint(string(rest[at:at+2]), 16, 8)
	if err != nil {
		return nil, 0
	}
	return []byte{byte(v)}, at + 2
}

// runeOf reads \uXXXX or \UXXXXXXXX; beyond 16 bits JSON writes two halves.
func runeOf(rest []byte, digits int) ([]byte, int) {
	at := func(i int) (rune, bool) {
		if len(rest) < i+2+digits || rest[i] != '\\' || rest[i+1] != rest[1] {
			return 0, false
		}
		v, err := strconv.ParseUint(string(rest[i+2:i+2+digits]), 16, 32)
		return rune(v), err == nil
	}
	first, ok := at(0)
	if !ok {
		return nil, cutOff(rest, 2, digits)
	}
	if first >= 0xd800 && first < 0xdc00 {
		if second, ok := at(2 + digits); ok && second >= 0xdc00 && second < 0xe000 {
			return utf8.AppendRune(nil, 0x10000+(first-0xd800)<<10+second-0xdc00), 2 * (2 + digits)
		}
	}
	return utf8.AppendRune(nil, first), 2 + digits
}
