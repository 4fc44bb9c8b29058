package bucket_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
)

const formatText = `{"checked":"2026-11-26T04:00:00Z","conditions":{"create":true,"multipart":false,"replace":true},"format":1,"listing":"ordered","tinfra":"v0.7.0"}` + "\n"

func formatIn(t *testing.T, o artifacts.Objects) string {
	t.Helper()
	r, _, err := o.Read(t.Context(), "format", 0, -1)
	if errors.Is(err, artifacts.ErrMissing) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFormatFile(t *testing.T) {
	for name, c := range map[string]struct {
		objects      map[string]string
		open, create error
		format       string
	}{
		"nothing there":         {nil, bucket.ErrNoFormat, nil, formatText},
		"a cache without it":    {map[string]string{"keys/x": "", "packs/x": "", "revoked/x": "", "probe-1/x": ""}, bucket.ErrNoFormat, nil, formatText},
		"somebody else's":       {map[string]string{"photos/cat.jpg": ""}, bucket.ErrNoFormat, bucket.ErrForeign, ""},
		"beside ours":           {map[string]string{"blobs/x": "", "z": ""}, bucket.ErrNoFormat, bucket.ErrForeign, ""},
		"there":                 {map[string]string{"format": formatText, "z": ""}, nil, nil, formatText},
		"with later members":    {map[string]string{"format": `{"format":1,"conditions":{"create":true,"replace":true,"if":7},"new":{}}`}, nil, nil, `{"format":1,"conditions":{"create":true,"replace":true,"if":7},"new":{}}`},
		"higher":                {map[string]string{"format": `{"format":2,"conditions":"all"}`}, bucket.ErrNewer, bucket.ErrNewer, `{"format":2,"conditions":"all"}`},
		"zero":                  {map[string]string{"format": `{"format":0}`}, bucket.ErrForeign, bucket.ErrForeign, `{"format":0}`},
		"none of ours":          {map[string]string{"format": "PNG"}, bucket.ErrForeign, bucket.ErrForeign, "PNG"},
		"another shape":         {map[string]string{"format": `{"format":1,"conditions":3}`}, bucket.ErrForeign, bucket.ErrForeign, `{"format":1,"conditions":3}`},
		"empty":                 {map[string]string{"format": ""}, bucket.ErrForeign, bucket.ErrForeign, ""},
		"two of them":           {map[string]string{"format": formatText + formatText}, bucket.ErrForeign, bucket.ErrForeign, formatText + formatText},
		"larger than it can be": {map[string]string{"format": strings.Repeat(" ", 1<<17) + "{}"}, bucket.ErrForeign, bucket.ErrForeign, strings.Repeat(" ", 1<<17) + "{}"},
	} {
		t.Run(name, func(t *testing.T) {
			o := mem.NewBucket()
			for n, val := range c.objects {
				damage(t, o, n, val)
			}
			before := formatIn(t, o)
			if _, err := bucket.Open(t.Context(), o, bucket.Settings{}); !errors.Is(err, c.open) {
				t.Errorf("Open = %v, want %v", err, c.open)
			}
			if formatIn(t, o) != before {
				t.Error("Open wrote the format")
			}
			if _, err := bucket.Create(t.Context(), o, bucket.Settings{Note: noted(sound())}); !errors.Is(err, c.create) {
				t.Errorf("Create = %v, want %v", err, c.create)
			}
			if got := formatIn(t, o); got != c.format {
				t.Errorf("format %q, want %q", got, c.format)
			}
		})
	}
}

func TestCreateProbesOnce(t *testing.T) {
	o, probes := mem.NewBucket(), 0
	s := bucket.Settings{Note: func(context.Context) (bucket.Format, error) {
		probes++
		return sound(), nil
	}}
	for range 3 {
		create(t, o, s)
	}
	if probes != 1 {
		t.Errorf("probed %d times", probes)
	}
	if _, err := bucket.Renew(t.Context(), o, s); err != nil || probes != 2 {
		t.Errorf("Renew: probed %d times, %v", probes, err)
	}
	broken := errors.New("no permission to delete")
	_, err := bucket.Create(t.Context(), mem.NewBucket(), bucket.Settings{Note: func(context.Context) (bucket.Format, error) { return bucket.Format{}, broken }})
	if !errors.Is(err, broken) {
		t.Errorf("Create behind a failed probe = %v", err)
	}
}

// Both of two that begin at once go by one finding: here one of them could list in order, and the other could not.
func TestTwoBeginAtOnce(t *testing.T) {
	o := mem.NewBucket()
	var together sync.WaitGroup
	together.Add(2)
	places, errs := make([]*bucket.Place, 2), make([]error, 2)
	var all sync.WaitGroup
	for i, listing := range []string{bucket.Ordered, bucket.Unordered} {
		all.Go(func() {
			places[i], errs[i] = bucket.Create(t.Context(), o, bucket.Settings{Note: func(context.Context) (bucket.Format, error) {
				together.Done()
				together.Wait() // both have seen that there is no format
				f := sound()
				f.Listing = listing
				return f, nil
			}})
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if a, b := places[0].Format(), places[1].Format(); a.Listing != b.Listing {
		t.Errorf("%+v and %+v", a, b)
	}
}

// careless ignores conditions, as some servers do.
type careless struct{ *mem.Bucket }

func (c careless) Write(ctx context.Context, name string, b artifacts.Body, _ *artifacts.Version) (artifacts.Object, error) {
	return c.Bucket.Write(ctx, name, b, nil)
}

func TestSingleWriterNeedsItsFlag(t *testing.T) {
	found := sound()
	found.Conditions = bucket.Conditions{Create: true}
	o := careless{mem.NewBucket()}
	if _, err := bucket.Create(t.Context(), o, bucket.Settings{Note: noted(found)}); !errors.Is(err, bucket.ErrNoConditions) {
		t.Fatalf("Create = %v", err)
	}
	if got := formatIn(t, o); got != "" {
		t.Errorf("a refused bucket was begun: %s", got)
	}
	p := create(t, o, bucket.Settings{Note: noted(found), SingleWriter: true})
	if got := formatIn(t, o); !strings.Contains(got, `"single_writer":true`) {
		t.Errorf("format %s", got)
	}
	setAsIfAlone(t, p)
	if _, err := bucket.Create(t.Context(), o, bucket.Settings{}); !errors.Is(err, bucket.ErrNoConditions) {
		t.Errorf("a second writer without the flag: %v", err)
	}
	reader, err := bucket.Open(t.Context(), o, bucket.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if val, _, err := reader.Get(t.Context(), "refs/a"); err != nil || string(val) != "two" {
		t.Errorf("a reader gets %q, %v", val, err)
	}
	if _, err := reader.Set(t.Context(), "refs/b", nil, artifacts.Absent); !errors.Is(err, bucket.ErrNoConditions) {
		t.Errorf("a reader's Set = %v", err)
	}
}

func setAsIfAlone(t *testing.T, p *bucket.Place) {
	t.Helper()
	v, err := p.Set(t.Context(), "refs/a", []byte("one"), artifacts.Absent)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Set(t.Context(), "refs/a", []byte("lost"), artifacts.Absent); !errors.Is(err, artifacts.ErrConflict) {
		t.Errorf("creating what is there = %v", err)
	}
	if _, err := p.Set(t.Context(), "refs/a", []byte("two"), v); err != nil {
		t.Error(err)
	}
	if _, err := p.Set(t.Context(), "refs/a", []byte("lost"), v); !errors.Is(err, artifacts.ErrConflict) {
		t.Errorf("replacing an old version = %v", err)
	}
}

// What a bucket could do once it may do no more: doctor notes it, and writers are told.
func TestRenewNotesWhatIsLost(t *testing.T) {
	o := mem.NewBucket()
	create(t, o, bucket.Settings{Note: noted(sound())})
	worse := sound()
	worse.Conditions.Create = false
	if _, err := bucket.Renew(t.Context(), o, bucket.Settings{Note: noted(worse)}); !errors.Is(err, bucket.ErrNoConditions) {
		t.Errorf("Renew = %v", err)
	}
	if _, err := bucket.Create(t.Context(), o, bucket.Settings{}); !errors.Is(err, bucket.ErrNoConditions) {
		t.Errorf("Create = %v", err)
	}
	if _, err := bucket.Renew(t.Context(), o, bucket.Settings{Note: noted(sound())}); err != nil {
		t.Errorf("Renew of what was mended = %v", err)
	}
	if got := formatIn(t, o); got != formatText {
		t.Errorf("format %s", got)
	}
}

// Whatever lies under the name of the format, it is read or refused, and no writer replaces what it cannot read.
func FuzzFormat(f *testing.F) {
	for _, text := range []string{formatText, "", "null", `{"format":2}`, `{"format":1e0}`, `{"format":1,"checked":"yesterday"}`, `{"format":1,"listing":[]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o := mem.NewBucket()
		damage(t, o, "format", string(b))
		_, opened := bucket.Open(t.Context(), o, bucket.Settings{})
		_, created := bucket.Create(t.Context(), o, bucket.Settings{Note: noted(sound()), SingleWriter: true})
		if (opened == nil) != (created == nil) {
			t.Errorf("Open = %v, Create = %v", opened, created)
		}
		if formatIn(t, o) != string(b) {
			t.Error("Create replaced the format")
		}
	})
}
