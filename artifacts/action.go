package artifacts

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Encode gives the bytes that are stored and the Key that is their digest.
func (a *Action) Encode() ([]byte, Key, error) {
	if err := a.check(); err != nil {
		return nil, Key{}, fmt.Errorf("action of %s: %w", a.Kind, err)
	}
	e := encoder{b: make([]byte, 0, encodedAction+len(a.Params))}
	if a.write(&e); !e.odd {
		return e.b, Key(Sum(e.b)), nil
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
	if readPlain(b, a.read, a.rewrite) {
		return a, nil
	}
	a = new(Action)
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
	p := plainText{b: a.Params}
	if p.value() && p.at == len(a.Params) && !p.nulls && !p.loose {
		return nil
	}
	return checkTokens(a.Params, checkNull, checkNFC)
}

func (a *Action) checkStrings() error {
	for _, s := range append([]string{a.Kind, a.Salt}, a.Command...) {
		if err := checkString(s); err != nil {
			return err
		}
	}
	for k := range a.Inputs {
		if err := checkString(k); err != nil {
			return err
		}
	}
	for _, m := range []map[string]string{a.Outputs, a.Facts} {
		for k, v := range m {
			if err := errors.Join(checkString(k), checkString(v)); err != nil {
				return err
			}
		}
	}
	if !utf8.Valid(a.Params) {
		return fmt.Errorf("string %q is not UTF-8", clip(string(a.Params)))
	}
	return nil
}

// checkString: encoding/json replaces broken UTF-8 in silence, which would give two actions one key.
func checkString(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("string %q is not UTF-8", clip(s))
	}
	return checkNFC(s)
}

// encodedAction is about what an action takes without its params, in bytes.
const encodedAction = 1 << 10

func (a *Action) write(e *encoder) {
	e.open('{')
	if len(a.Command) > 0 {
		e.member("command")
		e.texts(a.Command)
	}
	e.optionalDigest("env", a.Env)
	if len(a.Facts) > 0 {
		e.member("facts")
		encodeMap(e, a.Facts, e.text)
	}
	e.member("format")
	e.integer(int64(a.Format))
	if len(a.Inputs) > 0 {
		e.member("inputs")
		encodeMap(e, a.Inputs, e.digest)
	}
	e.member("kind")
	e.text(a.Kind)
	e.member("outputs")
	encodeMap(e, a.Outputs, e.text)
	e.member("params")
	e.b = append(e.b, a.Params...)
	e.odd = e.odd || !isPlain(a.Params)
	e.optionalText("salt", a.Salt)
	e.member("worker")
	e.digest(a.Worker)
	e.close('}')
}

func (a *Action) read(d *decoder) {
	d.want("{")
	if d.optional("command") {
		a.Command = d.texts()
	}
	a.Env = d.optionalDigest("env")
	if d.optional("facts") {
		a.Facts = decodeMap(d, d.text)
	}
	d.member("format")
	a.Format = int(d.integer())
	if d.optional("inputs") {
		a.Inputs = decodeMap(d, d.digest)
	}
	d.member("kind")
	a.Kind = d.text()
	d.member("outputs")
	a.Outputs = decodeMap(d, d.text)
	d.member("params")
	a.Params = d.plain()
	a.Salt = d.optionalText("salt")
	d.member("worker")
	a.Worker = d.digest()
	d.want("}")
}

// rewrite is write of what was read.
func (a *Action) rewrite(e *encoder) {
	if e.odd = a.check() != nil; !e.odd {
		a.write(e)
	}
}
