package artifacts

import (
	"errors"
	"fmt"
	"slices"
)

// Encode gives the bytes that are stored and their digest. Times are kept in UTC.
func (b *Build) Encode() ([]byte, Digest, error) {
	if b.ID == "" {
		return nil, Digest{}, errors.New("build has no id")
	}
	e := encoder{b: make([]byte, 0, encodedBuild+len(b.Steps)*encodedStep)}
	if b.write(&e); !e.odd {
		return e.b, Sum(e.b), nil
	}
	c := *b
	c.Started, c.Ended = stored(b.Started), stored(b.Ended)
	if c.Steps == nil {
		c.Steps = []Step{}
	}
	out, err := JCS(&c)
	if err != nil {
		return nil, Digest{}, fmt.Errorf("build %s: %w", b.ID, err)
	}
	return out, Sum(out), nil
}

// DecodeBuild accepts only what Encode writes.
func DecodeBuild(raw []byte) (*Build, error) {
	b := new(Build)
	if readPlain(raw, b.read, b.rewrite) {
		return b, nil
	}
	b = new(Build)
	err := decodeExact("build", raw, b, func() ([]byte, error) {
		again, _, err := b.Encode()
		return again, err
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// What a build takes without its steps, and a step, about, in bytes.
const (
	encodedBuild = 1 << 10
	encodedStep  = 400
)

func (b *Build) write(e *encoder) {
	e.open('{')
	e.optionalText("commit", b.Commit)
	e.member("ended")
	e.time(b.Ended)
	e.member("exit")
	e.integer(int64(b.Exit))
	e.member("host")
	e.text(b.Host)
	e.member("id")
	e.text(b.ID)
	e.optionalDigest("lock", b.Lock)
	if len(b.Modules) > 0 {
		e.member("modules")
		encodeMap(e, b.Modules, e.digest)
	}
	e.optionalText("problem", b.Problem)
	e.member("recipe")
	e.digest(b.Recipe)
	e.member("recipePath")
	e.text(b.RecipePath)
	e.member("started")
	e.time(b.Started)
	e.member("steps")
	e.open('[')
	for i := range b.Steps {
		e.next()
		b.Steps[i].write(e)
	}
	e.close(']')
	if len(b.Targets) > 0 {
		e.member("targets")
		e.texts(b.Targets)
	}
	if len(b.Variables) > 0 {
		e.member("variables")
		encodeMap(e, b.Variables, e.text)
	}
	e.close('}')
}

func (s *Step) write(e *encoder) {
	e.open('{')
	e.member("address")
	e.text(s.Address)
	e.optionalDigest("key", s.Key.Digest())
	e.member("kind")
	e.text(s.Kind)
	e.optionalDigest("log", s.Log)
	e.optionalText("reason", s.Reason)
	e.optionalDigest("record", s.Record)
	e.member("state")
	e.text(string(s.State))
	e.close('}')
}

func (b *Build) read(d *decoder) {
	d.want("{")
	b.Commit = d.optionalText("commit")
	d.member("ended")
	b.Ended = d.time()
	d.member("exit")
	b.Exit = int(d.integer())
	d.member("host")
	b.Host = d.text()
	d.member("id")
	b.ID = d.text()
	b.Lock = d.optionalDigest("lock")
	if d.optional("modules") {
		b.Modules = decodeMap(d, d.digest)
	}
	b.Problem = d.optionalText("problem")
	d.member("recipe")
	b.Recipe = d.digest()
	d.member("recipePath")
	b.RecipePath = d.text()
	d.member("started")
	b.Started = d.time()
	d.member("steps")
	b.Steps = []Step{}
	for d.want("["); d.more("]"); {
		b.Steps = append(b.Steps, readStep(d))
	}
	if d.optional("targets") {
		b.Targets = d.texts()
	}
	if d.optional("variables") {
		b.Variables = decodeMap(d, d.text)
	}
	d.want("}")
}

func readStep(d *decoder) (s Step) {
	d.want("{")
	d.member("address")
	s.Address = d.text()
	s.Key = Key(d.optionalDigest("key"))
	d.member("kind")
	s.Kind = d.text()
	s.Log = d.optionalDigest("log")
	s.Reason = d.optionalText("reason")
	s.Record = d.optionalDigest("record")
	d.member("state")
	s.State = State(d.text())
	d.want("}")
	return s
}

// rewrite is write of what was read.
func (b *Build) rewrite(e *encoder) {
	if e.odd = b.ID == ""; !e.odd {
		b.write(e)
	}
}

// Step finds what became of the stage with this address.
func (b *Build) Step(address string) (Step, bool) {
	i := slices.IndexFunc(b.Steps, func(s Step) bool { return s.Address == address })
	if i < 0 {
		return Step{}, false
	}
	return b.Steps[i], true
}
