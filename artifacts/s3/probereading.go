package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// ProbeReading tries what a machine that only reads relies on, by an object that is there, and tells each check. It writes nothing. What
// does not work is an error.
func (c *Client) ProbeReading(ctx context.Context, sample string, report func(Check)) error {
	p := &probe{Client: c, report: report, sample: sample}
	err := p.all(ctx, []trial{
		{"read", p.readWhole},
		{"clock", p.clocks},
		{"read ranges", p.readPart},
		{"list", p.listSample},
		{"ask for what is missing", p.askMissing},
	})
	if err != nil {
		return fmt.Errorf("probing %s: %w", c, err)
	}
	return nil
}

func (p *probe) readWhole(ctx context.Context) (_ string, err error) {
	p.body, _, err = p.read(ctx, p.sample, 0, -1)
	return fmt.Sprintf("%d bytes of %s%s", len(p.body), p.Client, p.sample), err
}

func (p *probe) readPart(ctx context.Context) (string, error) {
	size := int64(len(p.body))
	off, n := size/3, size/3
	got, o, err := p.read(ctx, p.sample, off, n)
	if err == nil && (!bytes.Equal(got, p.body[off:off+n]) || o.Size != size) {
		err = fmt.Errorf("asked for %d bytes from %d on, the server gave others", n, off)
	}
	return "a range", err
}

func (p *probe) listSample(ctx context.Context) (string, error) {
	names, err := p.names(ctx, p.sample, "")
	if err == nil && !slices.Contains(names, p.sample) {
		err = fmt.Errorf("%s is there, and is not listed", p.sample)
	}
	return "what is there", err
}

// askMissing: who may not list is told that what is missing is forbidden.
func (p *probe) askMissing(ctx context.Context) (string, error) {
	_, _, err := p.stat(ctx, "probe-"+newMark())
	switch {
	case err == nil:
		return "", errors.New("the server has an object of a name that nobody has given")
	case !errors.Is(err, artifacts.ErrMissing):
		return "", err
	}
	return "it is not there", nil
}
