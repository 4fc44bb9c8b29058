package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Check is one thing that Probe has tried.
type Check struct {
	Name   string
	OK     bool
	Detail string // what was seen, for people
	Took   time.Duration
}

// Finding is what the bucket can be trusted with.
type Finding struct {
	Create    bool          // of many that create a name one wins, and no other write is told that it has
	Replace   bool          // the same for replacing a version
	Multipart bool          // Create also holds for uploads in parts; tinfra makes none
	Ordered   bool          // listings are in the order of names, and begin behind the one that was said
	Skew      time.Duration // the server's clock less ours; its resolution is a second
	Server    string        // as it names itself; may be ""
}

const (
	racers      = 16
	rounds      = 3                // a race that a careless server wins once by luck
	maxSkew     = 15 * time.Minute // signatures are good for so long
	cleaningUp  = time.Minute
	probeLength = 1 << 10
)

// probe is one run of Probe, in a folder of its own, or of ProbeReading.
type probe struct {
	*Client
	report  func(Check)
	finding Finding
	sample  string // name of an object whose bytes are body
	body    []byte
}

// trial is one thing that is tried. It tells what was seen.
type trial struct {
	name string
	do   func(context.Context) (string, error)
}

// Probe tries in a folder below this client's what tinfra relies on, tells each check, and removes the folder again, also when ctx has ended. What
// must work and does not is an error; that the bucket ignores conditions is not, but is in the finding.
func (c *Client) Probe(ctx context.Context, report func(Check)) (Finding, error) {
	p := &probe{Client: c.Below("probe-" + newMark()), report: report, sample: "plain", body: bytes.Repeat([]byte("tinfra's probe. "), probeLength/16)}
	err := p.all(ctx, []trial{
		{"reach and write", p.reach},
		{"clock", p.clocks},
		{"read back", p.readBack},
		{"read ranges", p.ranges},
		{"list after write", p.list},
		{"create on condition", p.create},
		{"replace on condition", p.replace},
		{"create in parts on condition", p.multipart},
		{"delete", p.remove},
	})
	clean, end := context.WithTimeout(context.WithoutCancel(ctx), cleaningUp)
	defer end()
	if swept := p.sweep(clean); err == nil && swept != nil {
		err = swept
	}
	if err != nil {
		return p.finding, fmt.Errorf("probing %s: %w", c, err)
	}
	return p.finding, nil
}

func (p *probe) all(ctx context.Context, trials []trial) error {
	for _, step := range trials {
		begun := time.Now()
		detail, err := step.do(ctx)
		check := Check{Name: step.name, OK: err == nil, Detail: detail, Took: time.Since(begun)}
		var soft lacking
		if err != nil {
			check.Detail = err.Error()
		}
		p.report(check)
		if err != nil && !errors.As(err, &soft) {
			return err
		}
	}
	return nil
}

// lacking is what the server does not do and tinfra can do without, in some way.
type lacking string

func (l lacking) Error() string { return string(l) }

func (p *probe) reach(ctx context.Context) (string, error) {
	_, err := p.Write(ctx, "plain", artifacts.Text(p.body), nil)
	return "wrote 1 KiB to " + p.String(), err
}

func (p *probe) clocks(ctx context.Context) (string, error) {
	before := time.Now()
	_, header, err := p.stat(ctx, p.sample)
	if err != nil {
		return "", err
	}
	p.finding.Server = header.Get("Server")
	at := now(header)
	if at.IsZero() {
		return "", errors.New("the server does not say what time it is")
	}
	// The server's time is cut to the second, ours is taken in the middle of the call.
	middle := before.Add(time.Since(before) / 2)
	p.finding.Skew = at.Sub(middle.Truncate(time.Second))
	if skew := p.finding.Skew; skew > maxSkew || skew < -maxSkew {
		return "", errors.New(clock(skew))
	}
	return clock(p.finding.Skew), nil
}

// read is all of a range.
func (p *probe) read(ctx context.Context, name string, off, n int64) ([]byte, artifacts.Object, error) {
	r, o, err := p.Read(ctx, name, off, n)
	if err != nil {
		return nil, o, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return b, o, err
}

// holds is an error where a name does not have these bytes.
func (p *probe) holds(ctx context.Context, name string, want []byte) (artifacts.Object, error) {
	got, o, err := p.read(ctx, name, 0, -1)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%s has other bytes than were written", name)
	}
	return o, err
}

func (p *probe) readBack(ctx context.Context) (string, error) {
	wrote, err := p.Write(ctx, "plain", artifacts.Text(p.body), nil)
	if err != nil {
		return "", err
	}
	o, err := p.holds(ctx, "plain", p.body)
	switch {
	case err != nil:
		return "", err
	case o.Version == "" || o.Version != wrote.Version:
		return "", fmt.Errorf("what was written as version %q is read as version %q", wrote.Version, o.Version)
	}
	return "the same bytes and version", nil
}

func (p *probe) ranges(ctx context.Context) (string, error) {
	for _, r := range []struct{ off, n int64 }{{0, 1}, {100, 200}, {1000, -1}, {1020, 100}} {
		got, o, err := p.read(ctx, "plain", r.off, r.n)
		if err != nil {
			return "", err
		}
		end := int64(len(p.body))
		if r.n >= 0 {
			end = min(end, r.off+r.n)
		}
		if !bytes.Equal(got, p.body[r.off:end]) || o.Size != int64(len(p.body)) {
			return "", fmt.Errorf("asked for %d bytes from %d on, the server gave others", r.n, r.off)
		}
	}
	return "4 ranges", nil
}

// probeNames are in the order of their bytes; in that of folders a-b and a.b would come behind a.
var probeNames = []string{"list/B/1", "list/a-b/1", "list/a.b/1", "list/a/1", "list/a0/1", "list/b/1"}

func (p *probe) list(ctx context.Context) (string, error) {
	for _, i := range []int{3, 0, 5, 2, 4, 1} {
		if _, err := p.Write(ctx, probeNames[i], artifacts.Text(nil), nil); err != nil {
			return "", err
		}
	}
	all, err := p.names(ctx, "list/", "")
	if err != nil {
		return "", err
	}
	if sorted := slices.Sorted(slices.Values(all)); !slices.Equal(sorted, probeNames) {
		return "", fmt.Errorf("wrote %d names and listed %d of them (%s)", len(probeNames), len(all), strings.Join(all, " "))
	}
	rest, err := p.names(ctx, "list/", probeNames[2])
	if err != nil {
		return "", err
	}
	switch {
	case !slices.Equal(all, probeNames):
		return "", lacking("all names are listed, but not in their order: " + strings.Join(all, " "))
	case !slices.Equal(rest, probeNames[3:]):
		return "", lacking("a listing behind " + probeNames[2] + " has other names: " + strings.Join(rest, " "))
	}
	p.finding.Ordered = true
	return "all names, in their order", nil
}

func (p *probe) names(ctx context.Context, prefix, after string) ([]string, error) {
	var all []string
	for o, err := range p.Walk(ctx, prefix, after) {
		if err != nil {
			return nil, err
		}
		all = append(all, o.Name)
	}
	return all, nil
}

func (p *probe) remove(ctx context.Context) (string, error) {
	if err := p.sweep(ctx); err != nil {
		return "", err
	}
	if err := p.Remove(ctx, "plain"); err != nil {
		return "", fmt.Errorf("removing what is not there: %w", err)
	}
	left, err := p.names(ctx, "", "")
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("removed all names, and %s is still listed", left[0])
	}
	if err != nil {
		return "", err
	}
	if _, _, err := p.stat(ctx, "plain"); !errors.Is(err, artifacts.ErrMissing) {
		return "", fmt.Errorf("plain was removed, and is still there (%v)", err) //nolint:errorlint // it is part of what was seen, nobody asks for its kind
	}
	return "nothing is left", nil
}

// sweep removes all names of the probe, as far as it may; the first that stays is the error.
func (p *probe) sweep(ctx context.Context) error {
	names, err := p.names(ctx, "", "")
	for _, name := range names {
		if stays := p.Remove(ctx, name); err == nil {
			err = stays
		}
	}
	return err
}
