package run_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// distant is another machine, whose results this one finds, and whose files it is brought, unless they are lost.
type distant struct {
	finder
	layer run.Layer
	lost  func(m *artifacts.Manifest) bool

	mu   sync.Mutex // guards what follows
	gone map[artifacts.Key]artifacts.Digest
	asks []artifacts.Key // that were forgotten
}

func (d *distant) Find(ctx context.Context, k artifacts.Key) (*artifacts.Record, artifacts.Digest, error) {
	rec, digest, err := d.finder.Find(ctx, k)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && d.gone[k] == digest {
		return nil, digest, artifacts.ErrMissing
	}
	return rec, digest, err
}

func (d *distant) Forget(k artifacts.Key) {
	_, digest, _ := d.finder.Find(context.Background(), k)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone[k], d.asks = digest, append(d.asks, k)
}

func (d *distant) Lay(ctx context.Context, m *artifacts.Manifest, dir string) (func() error, error) {
	for _, f := range m.Files {
		if _, err := d.here.Stat(ctx, f.Digest); err == nil {
			continue
		}
		if d.lost(m) {
			return nil, lostBytes{}
		}
		text, err := d.far.GetBytes(ctx, f.Digest)
		if err == nil {
			err = d.here.Put(ctx, f.Blob, bytes.NewReader(text))
		}
		if err != nil {
			return nil, err
		}
	}
	return d.layer.Lay(ctx, m, dir)
}

func (d *distant) Found(m *artifacts.Manifest, dir string) func() error { return d.layer.Found(m, dir) }

func all(*artifacts.Manifest) bool { return true }

// joined builds a recipe on another machine, and gives this one, which knows its results.
func joined(t *testing.T, dir string, ks kinds, before, text string) (*bench, *distant, map[string]artifacts.Step) {
	t.Helper()
	far, b := newBench(t, ks, before), benchAt(t, dir, ks, text)
	made := far.ok()
	d := &distant{finder: finder{far.cache, b.cache}, layer: b.options.Layer, lost: all, gone: map[artifacts.Key]artifacts.Digest{}}
	b.cache = b.cache.Beside(d)
	b.options.Cache, b.options.Layer, b.options.Forget = b.cache, d, d.Forget
	b.write("ran", "")
	return b, d, made
}

const textIn = `input "text" {
  type = "files"
  doc  = "x"
}
`

// passing are kinds that take down that they ran: of exact bytes, and of others each time.
func passing(dir string) kinds {
	ran := func(what string) string { return "echo " + what + " >> " + dir + "/ran\n" }
	return kinds{
		"first": {"", ran("first") + hello},
		"dice": {`determinism = "statistical"
output "files" {
  type = "files"
  doc  = "x"
}
output "other" {
  type = "files"
  doc  = "x"
}
metric "score" {
  doc = "x"
}
`, ran("dice") + `cat /proc/sys/kernel/random/uuid > out/files/x; cat /proc/sys/kernel/random/uuid > out/other/y
if [ -e ` + dir + `/low ]; then s=1; else s=9; fi
echo '{"protocol":1,"metrics":{"score":'$s'}}' > tmp/r; mv tmp/r result.json
`},
		"next":  {textIn, ran("next") + "cat in/text/* > out/files/greeting; echo more >> out/files/greeting\n" + done},
		"third": {textIn, ran("third") + "cat in/text/* > out/files/end; echo end >> out/files/end\n" + done},
		"same":  {textIn, ran("same") + hello},
		"bad": {textIn, ran("bad") + `if [ -e ` + dir + `/broken ]; then exit 1; fi
` + hello},
		"held": {textIn, ran("held") + `if [ ! -e ` + dir + `/once ]; then touch ` + dir + `/once; read x < ` + dir + `/gate; fi
cat in/text/* > out/files/greeting
` + done},
	}
}

// ran are the kinds whose workers ran on this machine, in their order.
func (b *bench) ran() string { return strings.Join(strings.Fields(b.read("ran")), " ") }

// told are the states by which a stage has ended, one after the other.
func (b *bench) told(address string) (states []string) {
	all, _ := b.seen.all()
	for _, e := range all {
		if e.Type == event.Finished && e.Stage == address {
			states = append(states, e.State)
		}
	}
	return states
}

// standsOn tells whether a stage was made of another one's output, as both are in a build.
func (b *bench) standsOn(got map[string]artifacts.Step, user, input, producer, port string) bool {
	b.t.Helper()
	a, err := b.cache.Action(b.t.Context(), got[user].Key)
	if err != nil {
		b.t.Fatal(err)
	}
	return a.Inputs[input] == b.record(got[producer]).Outputs[port]
}

// forgetful is not to be helped: whatever is made, it has no greeting.
type forgetful struct{ *distant }

func (f forgetful) Lay(ctx context.Context, m *artifacts.Manifest, dir string) (func() error, error) {
	if m.Files[0].Path == "greeting" {
		return nil, fmt.Errorf("fetching: %w", lostBytes{})
	}
	return f.distant.Lay(ctx, m, dir)
}

// another is what a second machine has made: it is found where the first one's is forgotten.
type another struct{ first, second *distant }

func (a another) Find(ctx context.Context, k artifacts.Key) (*artifacts.Record, artifacts.Digest, error) {
	rec, digest, err := a.first.Find(ctx, k)
	if errors.Is(err, artifacts.ErrMissing) {
		return a.second.Find(ctx, k)
	}
	return rec, digest, err
}

func (d *distant) forgotten(k artifacts.Key) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.gone[k].IsZero()
}

// bothLayers bring what the second machine has from there.
type bothLayers struct{ first, second *distant }

func (l bothLayers) Lay(ctx context.Context, m *artifacts.Manifest, dir string) (func() error, error) {
	if _, err := l.second.far.Stat(ctx, m.Files[0].Digest); err == nil {
		return l.second.Lay(ctx, m, dir)
	}
	return l.first.Lay(ctx, m, dir)
}

func (l bothLayers) Found(m *artifacts.Manifest, dir string) func() error {
	return l.first.Found(m, dir)
}
