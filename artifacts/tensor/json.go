package tensor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxNesting is how deep the reference implementation of safetensors reads JSON.
const maxNesting = 127

// strictJSON refuses what encoding/json reads and the reference implementation of safetensors does not: half a surrogate
// pair, which becomes U+FFFD here so that two names may become one, and deep nesting.
func strictJSON(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("is not UTF-8")
	}
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			if n := escape(text[i:]); n > 0 {
				i += n - 1
				continue
			}
			return errors.New("holds half a surrogate pair")
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > maxNesting {
				return fmt.Errorf("is nested deeper than %d levels", maxNesting)
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return nil
}

// escape is the length of the escape sequence at the beginning of text; 0 for half a surrogate pair.
func escape(text []byte) int {
	const single = len(`\u0000`)
	first, ok := unicodeEscape(text)
	switch {
	case !ok:
		return min(2, len(text))
	case !utf16.IsSurrogate(first):
		return single
	}
	if second, ok := unicodeEscape(text[single:]); ok && utf16.DecodeRune(first, second) != utf8.RuneError {
		return 2 * single
	}
	return 0
}

func unicodeEscape(text []byte) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(n), err == nil
}

// members reads one object, in which no name may stand twice; each reads the value of a name.
func members(d *json.Decoder, each func(name string) error) error {
	t, err := d.Token()
	if err != nil {
		return fmt.Errorf("the header: %w", err)
	}
	if t != json.Delim('{') {
		return errors.New("it is no object")
	}
	seen := make(map[string]bool)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return fmt.Errorf("the header: %w", err)
		}
		name, _ := t.(string)
		if seen[name] {
			return fmt.Errorf("%q is listed twice", name)
		}
		seen[name] = true
		if err := each(name); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("the header: %w", err)
	}
	return nil
}

// wholes reads a list of whole numbers from 0 to 2^63-1.
func wholes(value json.RawMessage) ([]int64, error) {
	var raw []json.RawMessage
	if len(value) == 0 || value[0] != '[' || json.Unmarshal(value, &raw) != nil {
		return nil, errors.New("it is no list")
	}
	all := make([]int64, len(raw))
	for i, text := range raw {
		n, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("%.40s is no whole number from 0 to 2^63-1", text)
		}
		all[i] = int64(n)
	}
	return all, nil
}
