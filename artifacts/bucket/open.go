package bucket

import (
	"context"
	"errors"
	"fmt"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Settings are what the user says of a bucket.
type Settings struct {
	// SingleWriter vouches that no other machine writes, for a bucket that ignores conditions. Each writer has to say so itself.
	SingleWriter bool
	// Note probes the bucket. Create calls it where nothing is there yet, Renew always.
	Note func(context.Context) (Format, error)
}

// Open is for reading: what another has begun. ErrNoFormat where nobody has; ErrNewer, ErrForeign. A place in a bucket without
// conditions can be read, and refuses to change pointers.
func Open(ctx context.Context, o artifacts.Objects, s Settings) (*Place, error) {
	f, _, err := readFormat(ctx, o)
	if err != nil {
		return nil, err
	}
	return placeOf(o, f, s), nil
}

// Create is for writing: it opens what is there, or probes the bucket and begins. ErrNoConditions where the bucket has none and nobody
// vouches for being its only writer.
func Create(ctx context.Context, o artifacts.Objects, s Settings) (*Place, error) {
	f, _, err := readFormat(ctx, o)
	if errors.Is(err, ErrNoFormat) {
		f, err = begin(ctx, o, s)
	}
	if err != nil {
		return nil, err
	}
	return writable(o, f, s)
}

// Renew is Create that probes in any case, and replaces what the bucket says of itself. Where it is told ErrNoConditions of a bucket in
// use, that stands in the bucket from then on, and every writer is told.
func Renew(ctx context.Context, o artifacts.Objects, s Settings) (*Place, error) {
	_, old, err := readFormat(ctx, o)
	if errors.Is(err, ErrNoFormat) {
		return Create(ctx, o, s)
	}
	if err != nil {
		return nil, err
	}
	f, err := probe(ctx, s)
	if err != nil {
		return nil, err
	}
	if f, err = settle(ctx, o, f, old); err != nil {
		return nil, err
	}
	return writable(o, f, s)
}

func writable(o artifacts.Objects, f Format, s Settings) (*Place, error) {
	p := placeOf(o, f, s)
	if p.refusal != nil {
		return nil, p.refusal
	}
	return p, nil
}

func placeOf(o artifacts.Objects, f Format, s Settings) *Place {
	p := &Place{objects: o, format: f}
	switch {
	case f.sound():
	case s.SingleWriter:
		p.alone = true
	default:
		p.refusal = ErrNoConditions
	}
	return p
}

func readFormat(ctx context.Context, o artifacts.Objects) (Format, artifacts.Version, error) {
	b, at, err := readSmall(ctx, o, FormatName, maxFormat)
	switch {
	case errors.Is(err, artifacts.ErrMissing):
		return Format{}, artifacts.Absent, ErrNoFormat
	case errors.Is(err, artifacts.ErrDamaged):
		return Format{}, artifacts.Absent, fmt.Errorf("%w: %w", ErrForeign, err)
	case err != nil:
		return Format{}, artifacts.Absent, err
	}
	f, err := decodeFormat(b)
	return f, at.Version, err
}

// begin probes and writes the format.
func begin(ctx context.Context, o artifacts.Objects, s Settings) (Format, error) {
	if err := checkEmpty(ctx, o); err != nil {
		return Format{}, err
	}
	f, err := probe(ctx, s)
	if err != nil {
		return Format{}, err
	}
	if !f.sound() && !s.SingleWriter {
		return Format{}, ErrNoConditions // and nothing is left behind
	}
	return settle(ctx, o, f, artifacts.Absent)
}

// settle writes the format. Of two that do so at once one wins, and both go by what that one has found.
func settle(ctx context.Context, o artifacts.Objects, f Format, old artifacts.Version) (Format, error) {
	err := writeFormat(ctx, o, f, old)
	if errors.Is(err, artifacts.ErrConflict) {
		f, _, err = readFormat(ctx, o)
	}
	return f, err
}

// checkEmpty refuses a place with other people's things in it. One with names of the layout is a shared cache that lost its format.
func checkEmpty(ctx context.Context, o artifacts.Objects) error {
	for at, err := range o.Walk(ctx, "", "") {
		if err != nil {
			return fmt.Errorf("looking whether the place of the shared cache is empty: %w", err)
		}
		if foreign(at.Name) {
			return fmt.Errorf("%w: %q is not tinfra's; use another prefix or tier", ErrForeign, at.Name)
		}
	}
	return nil
}

func probe(ctx context.Context, s Settings) (Format, error) {
	if s.Note == nil {
		return Format{}, ErrNoFormat
	}
	f, err := s.Note(ctx)
	if err != nil {
		return Format{}, fmt.Errorf("looking what the bucket can do: %w", err)
	}
	f.Number = FormatNumber
	f.SingleWriter = !f.sound() && s.SingleWriter
	return f, nil
}

// writeFormat goes without a condition where the bucket has none: some servers refuse one that they do not know.
func writeFormat(ctx context.Context, o artifacts.Objects, f Format, old artifacts.Version) error {
	b, err := f.encode()
	if err != nil {
		return err
	}
	condition := &old
	if !f.sound() {
		condition = nil
	}
	if _, err := o.Write(ctx, FormatName, artifacts.Text(b), condition); err != nil {
		return fmt.Errorf("writing the format of the shared cache: %w", err)
	}
	return nil
}
