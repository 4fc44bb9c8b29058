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
	err := decodeExact("record", b, r, func() ([]byte, error) {
		again, _, err := r.Encode()
		return again, err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
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
