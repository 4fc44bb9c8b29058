package artifacts

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// Encode gives the bytes that are stored and their digest. Times are kept in UTC.
func (r *Record) Encode() ([]byte, Digest, error) {
	if err := r.check(); err != nil {
		return nil, Digest{}, fmt.Errorf("record of %s: %w", r.Key.Short(), err)
	}
	e := encoder{b: make([]byte, 0, encodedRecord)}
	if r.write(&e); !e.odd {
		return e.b, Sum(e.b), nil
	}
	c := *r
	c.Started, c.Ended = stored(r.Started), stored(r.Ended)
	// Metrics are floats of any size: the limit that JCS sets to integers does not concern them.
	raw, err := json.Marshal(&c)
	if err != nil {
		return nil, Digest{}, fmt.Errorf("record of %s: %w", r.Key.Short(), err)
	}
	b, err := canonical(raw)
	if err != nil {
		return nil, Digest{}, fmt.Errorf("record of %s: %w", r.Key.Short(), err)
	}
	return b, Sum(b), nil
}

// DecodeRecord accepts only what Encode writes.
func DecodeRecord(b []byte) (*Record, error) {
	r := new(Record)
	if readPlain(b, r.read, r.rewrite) {
		return r, nil
	}
	r = new(Record)
	err := decodeExact("record", b, r, func() ([]byte, error) {
		again, _, err := r.Encode()
		return again, err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// encodedRecord is about what a record takes, in bytes.
const encodedRecord = 1 << 10

func (r *Record) write(e *encoder) {
	e.open('{')
	e.member("builder")
	e.text(r.Builder)
	e.member("ended")
	e.time(r.Ended)
	e.member("key")
	e.digest(r.Key.Digest())
	e.optionalDigest("log", r.Log)
	if len(r.Metrics) > 0 {
		e.member("metrics")
		encodeMap(e, r.Metrics, e.float)
	}
	if len(r.Observed) > 0 {
		e.member("observed")
		encodeMap(e, r.Observed, e.text)
	}
	e.member("outputs")
	encodeMap(e, r.Outputs, e.digest)
	e.odd = e.odd || r.Outputs == nil // which is written as null
	e.member("started")
	e.time(r.Started)
	e.close('}')
}

func (r *Record) read(d *decoder) {
	d.want("{")
	d.member("builder")
	r.Builder = d.text()
	d.member("ended")
	r.Ended = d.time()
	d.member("key")
	r.Key = Key(d.digest())
	r.Log = d.optionalDigest("log")
	if d.optional("metrics") {
		r.Metrics = decodeMap(d, d.float)
	}
	if d.optional("observed") {
		r.Observed = decodeMap(d, d.text)
	}
	d.member("outputs")
	r.Outputs = decodeMap(d, d.digest)
	d.member("started")
	r.Started = d.time()
	d.want("}")
}

// rewrite is write of what was read.
func (r *Record) rewrite(e *encoder) {
	if e.odd = r.check() != nil; !e.odd {
		r.write(e)
	}
}

func (r *Record) check() error {
	if r.Key.IsZero() {
		return errors.New("no key")
	}
	for name, v := range r.Metrics {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("metric %q is %v; a metric must be a finite number", name, v)
		}
	}
	return nil
}

// stored drops what JSON would not give back: the zone and the monotonic clock.
func stored(t time.Time) time.Time { return t.UTC().Round(0) }
