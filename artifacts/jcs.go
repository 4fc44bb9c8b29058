package artifacts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/gowebpki/jcs"
	"golang.org/x/text/unicode/norm"
)

// JCS encodes v by RFC 8785, so that equal values have equal bytes. Integers beyond ±2^53 would be rounded silently:
// they are refused, as NaN and infinities are.
func JCS(v any) ([]byte, error) {
	var text bytes.Buffer
	marshal := json.NewEncoder(&text)
	marshal.SetEscapeHTML(false)
	if err := marshal.Encode(v); err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	b := bytes.TrimSuffix(text.Bytes(), []byte("\n"))
	if isPlain(b) {
		return b, nil
	}
	if err := checkTokens(b, checkInteger); err != nil {
		return nil, err
	}
	return canonical(b)
}

func canonical(b []byte) ([]byte, error) {
	out, err := jcs.Transform(b)
	if err != nil {
		return nil, fmt.Errorf("encoding by RFC 8785: %w", err)
	}
	return out, nil
}

const maxInteger = 1 << 53

func checkInteger(t json.Token) error {
	n, ok := t.(json.Number)
	if !ok || strings.ContainsAny(string(n), ".eE") {
		return nil
	}
	i, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil || i > maxInteger || i < -maxInteger {
		return fmt.Errorf("integer %s is beyond ±2^53; write it as a string", clip(string(n)))
	}
	return nil
}

func checkNFC(t json.Token) error {
	if s, ok := t.(string); ok && !norm.NFC.IsNormalString(s) {
		return fmt.Errorf("string %q is not in Unicode normal form C", clip(s))
	}
	return nil
}

func checkNull(t json.Token) error {
	if t == nil {
		return errors.New("null in what becomes a key: leave it out")
	}
	return nil
}

// checkTokens shows each token of a JSON text, keys among them, to the checks.
func checkTokens(b []byte, checks ...func(json.Token) error) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading JSON: %w", err)
		}
		for _, check := range checks {
			if err := check(t); err != nil {
				return err
			}
		}
	}
}

// decodeExact fills v from b and accepts b only if encode gives the same bytes back: there is one spelling of every
// object, so duplicate keys, unknown fields, other orders and other number forms are all refused.
func decodeExact(what string, b []byte, v any, encode func() ([]byte, error)) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, what, err)
	}
	again, err := encode()
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, what, err)
	}
	if !bytes.Equal(again, b) {
		return fmt.Errorf("%w: %s is not in its canonical form", ErrDamaged, what)
	}
	return nil
}
