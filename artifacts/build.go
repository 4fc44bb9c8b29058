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
	err := decodeExact("build", raw, b, func() ([]byte, error) {
		again, _, err := b.Encode()
		return again, err
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Step finds what became of the stage with this address.
func (b *Build) Step(address string) (Step, bool) {
	i := slices.IndexFunc(b.Steps, func(s Step) bool { return s.Address == address })
	if i < 0 {
		return Step{}, false
	}
	return b.Steps[i], true
}
