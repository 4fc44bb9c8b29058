package artifacts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Encode gives the bytes that are stored and the Key that is their digest.
func (a *Action) Encode() ([]byte, Key, error) {
	if err := a.check(); err != nil {
		return nil, Key{}, fmt.Errorf("action of %s: %w", a.Kind, err)
	}
	c := *a
	if c.Outputs == nil {
		c.Outputs = map[string]string{} // one spelling of "none"
	}
	b, err := JCS(&c)
	if err != nil {
		return nil, Key{}, fmt.Errorf("action of %s: %w", a.Kind, err)
	}
	return b, Key(Sum(b)), nil
}

// DecodeAction accepts only what Encode writes.
func DecodeAction(b []byte) (*Action, error) {
	a := new(Action)
	err := decodeExact("action", b, a, func() ([]byte, error) {
		again, _, err := a.Encode()
		return again, err
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Action) check() error {
	switch {
	case a.Format != ActionFormat:
		return fmt.Errorf("format %d; this version of tinfra knows %d", a.Format, ActionFormat)
	case a.Kind == "":
		return errors.New("no kind")
	case len(bytes.TrimSpace(a.Params)) == 0 || bytes.TrimSpace(a.Params)[0] != '{':
		return errors.New("params are not a JSON object")
	}
	if err := a.checkStrings(); err != nil {
		return err
	}
	fields, err := json.Marshal([]any{a.Kind, a.Command, a.Inputs, a.Outputs, a.Facts, a.Salt})
	if err != nil {
		return err
	}
	if err := checkTokens(fields, checkNFC); err != nil {
		return err
	}
	return checkTokens(a.Params, checkNull, checkNFC)
}

// checkStrings: encoding/json replaces broken UTF-8 in silence, which would give two actions one key.
func (a *Action) checkStrings() error {
	all := append([]string{a.Kind, a.Salt, string(a.Params)}, a.Command...)
	for k := range a.Inputs {
		all = append(all, k)
	}
	for _, m := range []map[string]string{a.Outputs, a.Facts} {
		for k, v := range m {
			all = append(all, k, v)
		}
	}
	for _, s := range all {
		if !utf8.ValidString(s) {
			return fmt.Errorf("string %q is not UTF-8", clip(s))
		}
	}
	return nil
}
