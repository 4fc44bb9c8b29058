package artifacts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gowebpki/jcs"
)

// The reference is the long way: encoding/json, a look at each token, and a library for RFC 8785.

func referenceJCS(v any, checks ...func(json.Token) error) ([]byte, error) {
	b, err := json.Marshal(v)
	if err == nil {
		err = checkTokens(b, checks...)
	}
	if err != nil {
		return nil, err
	}
	return jcs.Transform(b)
}

func referenceManifest(m *Manifest) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	o := ociManifest{
		SchemaVersion: 2, MediaType: ManifestMediaType, Config: emptyDescriptor(),
		ArtifactType: typePrefix + strings.ReplaceAll(m.Type, "/", ".") + typeSuffix,
	}
	for _, f := range m.Files {
		notes := map[string]string{titleKey: f.Path}
		if f.Exec {
			notes[execKey] = "true"
		}
		o.Layers = append(o.Layers, ociDescriptor{FileMediaType, f.Digest, f.Size, notes})
	}
	if len(o.Layers) == 0 {
		o.Layers = []ociDescriptor{emptyDescriptor()}
	}
	for name, value := range m.Labels {
		if o.Annotations == nil {
			o.Annotations = map[string]string{}
		}
		o.Annotations[labelPrefix+name] = value
	}
	return referenceJCS(o, checkInteger)
}

func referenceAction(a *Action) ([]byte, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	fields, err := json.Marshal([]any{a.Kind, a.Command, a.Inputs, a.Outputs, a.Facts, a.Salt})
	if err == nil {
		err = errors.Join(checkTokens(fields, checkNFC), checkTokens(a.Params, checkNull, checkNFC))
	}
	if err != nil {
		return nil, err
	}
	c := *a
	if c.Outputs == nil {
		c.Outputs = map[string]string{}
	}
	return referenceJCS(&c, checkInteger)
}

func referenceRecord(r *Record) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	c := *r
	c.Started, c.Ended = stored(r.Started), stored(r.Ended)
	return referenceJCS(&c)
}

func referenceBuild(b *Build) ([]byte, error) {
	if b.ID == "" {
		return nil, errors.New("no id")
	}
	c := *b
	c.Started, c.Ended = stored(b.Started), stored(b.Ended)
	if c.Steps == nil {
		c.Steps = []Step{}
	}
	return referenceJCS(&c, checkInteger)
}

func referenceDecode[T any](b []byte, encode func(*T) ([]byte, error)) (any, error) {
	v := new(T)
	err := decodeExact("", b, v, func() ([]byte, error) { return encode(v) })
	return v, err
}

func referenceDecodeManifest(b []byte) (any, error) {
	var o ociManifest
	var m *Manifest
	err := decodeExact("", b, &o, func() ([]byte, error) {
		var err error
		if m, err = o.manifest(); err != nil {
			return nil, err
		}
		return referenceManifest(m)
	})
	return m, err
}

// sameLanguage: the short way takes what the long way takes, and makes the same of it.
func sameLanguage(t *testing.T, b []byte) {
	t.Helper()
	for name, c := range map[string]struct {
		short func() (any, error)
		long  func() (any, error)
	}{
		"manifest": {func() (any, error) { return DecodeManifest(b) }, func() (any, error) { return referenceDecodeManifest(b) }},
		"action":   {func() (any, error) { return DecodeAction(b) }, func() (any, error) { return referenceDecode(b, referenceAction) }},
		"record":   {func() (any, error) { return DecodeRecord(b) }, func() (any, error) { return referenceDecode(b, referenceRecord) }},
		"build":    {func() (any, error) { return DecodeBuild(b) }, func() (any, error) { return referenceDecode(b, referenceBuild) }},
		"any": {
			func() (any, error) { return JCS(json.RawMessage(b)) },
			func() (any, error) { return referenceJCS(json.RawMessage(b), checkInteger) },
		},
	} {
		got, err := c.short()
		want, wantErr := c.long()
		if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%s %q:\ngot  %+v, %v\nwant %+v, %v", name, b, got, err, want, wantErr)
		}
	}
}

func FuzzSameLanguage(f *testing.F) {
	for _, name := range []string{"manifest", "action", "record", "build"} {
		b, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		for _, change := range [][2]string{
			{"lab", `l\"\\\u0001\n\u001fä\b`}, {"lab", `\u0041`}, {"lab", `\/`}, {"lab", `\u000a`}, {"lab", `\ud800`}, {"lab", "\xff"},
			{"sm_90", "\U0001f600\u2028<&>"}, {"gpu.arch", "\U0001f600"}, {"gpu.arch", "\ue000"}, {"4.25", "4.250"}, {"4.25", "1e400"},
			{"4.25", "1e+21"}, {"4.25", "-0"}, {"4.25", "9007199254740993"}, {`"bits":4`, `"bits":null`}, {`"bits":4`, `"bits":9007199254740993`},
			{`"bits":4`, `"a\nb":[true,false,{"x":[]},"é",1.5e-7]`}, {"05.6Z", "05.60Z"}, {"05.6Z", "05.6+00:00"}, {"05.6Z", "05.6+01:00"},
			{`":"`, `": "`}, {`,"`, `,,"`}, {`]`, `,]`}, {`}`, `,}`}, {`:[`, `:[,`}, {"weights/model", "WEIGHTS/é"},
		} {
			f.Add([]byte(strings.Replace(string(b), change[0], change[1], 1)))
		}
	}
	for _, text := range []string{
		`{"b":1,"a":2}`, `{"a":1,"a":1}`, `[1,-0,0.1,1e21,1e-7,123456789012345,1234567890123456,1E5,01]`, ` 1`, `"\u007f\u2028"`, `nul`, `{"\n":1}`, `""`, `[[[]]]`,
		"{\"\U0001f600\":1,\"\ue000\":2}", "{\"\ue000\":2,\"\U0001f600\":1}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(sameLanguage)
}

// TestSameLanguageAtEachByte changes and drops each byte of each golden object.
func TestSameLanguageAtEachByte(t *testing.T) {
	for _, name := range []string{"manifest", "action", "record", "build"} {
		b, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			for _, c := range []byte("\"\\0Z{,\x01\xff") {
				changed := slices.Clone(b)
				changed[i] = c
				sameLanguage(t, changed)
			}
			sameLanguage(t, slices.Delete(slices.Clone(b), i, i+1))
		}
	}
}

// FuzzSameEncoding: whatever is in the fields, both ways write the same, or neither does.
func FuzzSameEncoding(f *testing.F) {
	f.Add("a", "b\U0001f600", `{"x":1}`, 1.5, int64(7), int64(1_700_000_000))
	f.Add("\xff", "\u0001\u2028\"\\<", `{ "x" : 1e3 }`, 1e21, int64(-1), int64(math.MaxInt64))
	f.Add("\ue000", "\U0001f600", `{"b":1,"a":null}`, 5e-324, int64(1)<<53+1, int64(-1)<<40)
	f.Add("e\u0301", "é", `[]`, math.NaN(), int64(0), int64(0))
	f.Add("", "\xed\xa0\x80", "{\"\xff\":1}", -1e-7, int64(1), int64(1))
	f.Fuzz(func(t *testing.T, s, z, params string, v float64, n, at int64) {
		d, when := Sum([]byte(s)), time.Unix(at, n).In(time.FixedZone("", 3600))
		both := map[string]string{s: z, z: s}
		digests := map[string]Digest{s: d, z: {}}
		m := &Manifest{Type: "a/b", Files: []File{{Path: "a", Exec: true, Blob: Blob{Digest: d, Size: n}}, {Path: "b" + s, Blob: Blob{Digest: d}}}, Labels: both}
		a := &Action{Format: ActionFormat, Kind: s, Command: []string{z, s}, Params: json.RawMessage(params), Inputs: digests, Outputs: both, Facts: both, Salt: z}
		r := &Record{Key: Key(d), Outputs: digests, Metrics: map[string]float64{s: v, "x": float64(n)}, Observed: both, Builder: z, Started: when, Ended: when}
		b := &Build{
			ID: s, RecipePath: z, Modules: digests, Variables: both, Targets: []string{s, z}, Commit: z, Host: s, Started: when, Ended: when, Exit: int(n), Problem: z,
			Steps: []Step{{Address: s, Kind: z, Key: Key(d), State: State(z), Reason: s}, {Log: d, Record: d}},
		}
		for name, c := range map[string]struct {
			short func() ([]byte, error)
			long  func() ([]byte, error)
		}{
			"manifest": {func() ([]byte, error) { b, _, err := m.Encode(); return b, err }, func() ([]byte, error) { return referenceManifest(m) }},
			"action":   {func() ([]byte, error) { b, _, err := a.Encode(); return b, err }, func() ([]byte, error) { return referenceAction(a) }},
			"record":   {func() ([]byte, error) { b, _, err := r.Encode(); return b, err }, func() ([]byte, error) { return referenceRecord(r) }},
			"build":    {func() ([]byte, error) { b, _, err := b.Encode(); return b, err }, func() ([]byte, error) { return referenceBuild(b) }},
			"empty":    {func() ([]byte, error) { b, _, err := (&Record{Key: Key(d)}).Encode(); return b, err }, func() ([]byte, error) { return referenceRecord(&Record{Key: Key(d)}) }},
		} {
			got, err := c.short()
			want, wantErr := c.long()
			if (err == nil) != (wantErr == nil) || !bytes.Equal(got, want) {
				t.Fatalf("%s:\ngot  %q, %v\nwant %q, %v", name, got, err, want, wantErr)
			}
		}
	})
}

func manyFiles(n int) *Manifest {
	m := &Manifest{Type: "files"}
	for i := range n {
		m.Files = append(m.Files, File{Path: fmt.Sprintf("Shards/%03d/part-%06d.bin", i/1000, i), Blob: Blob{FileMediaType, Sum([]byte(strconv.Itoa(i))), int64(i)}})
	}
	return m
}

// BenchmarkCodec measures the short way beside the long one.
func BenchmarkCodec(b *testing.B) {
	measure := func(name string, raw []byte, ways ...func() error) {
		for i, f := range ways {
			b.Run(name+"/"+[]string{"decode", "encode", "decode the long way", "encode the long way"}[i], func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(raw)))
				for b.Loop() {
					if err := f(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	golden := func(name string) []byte {
		raw, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			b.Fatal(err)
		}
		return raw
	}
	raw := golden("action")
	a, _ := DecodeAction(raw)
	measure("action", raw, func() error { _, err := DecodeAction(raw); return err }, func() error { _, _, err := a.Encode(); return err },
		func() error { _, err := referenceDecode(raw, referenceAction); return err }, func() error { _, err := referenceAction(a); return err })
	record := golden("record")
	r, _ := DecodeRecord(record)
	measure("record", record, func() error { _, err := DecodeRecord(record); return err }, func() error { _, _, err := r.Encode(); return err },
		func() error { _, err := referenceDecode(record, referenceRecord); return err }, func() error { _, err := referenceRecord(r); return err })
	build, _ := DecodeBuild(golden("build"))
	for range 1000 {
		build.Steps = append(build.Steps, build.Steps[0])
	}
	text, _, _ := build.Encode()
	measure("build of 1000", text, func() error { _, err := DecodeBuild(text); return err }, func() error { _, _, err := build.Encode(); return err },
		func() error { _, err := referenceDecode(text, referenceBuild); return err }, func() error { _, err := referenceBuild(build); return err })
	for _, n := range []int{1, 200_000} {
		m := manyFiles(n)
		text, _, _ := m.Encode()
		measure(fmt.Sprintf("manifest of %d", n), text, func() error { _, err := DecodeManifest(text); return err }, func() error { _, _, err := m.Encode(); return err },
			func() error { _, err := referenceDecodeManifest(text); return err }, func() error { _, err := referenceManifest(m); return err })
	}
}
