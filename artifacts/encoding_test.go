package artifacts_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

var update = flag.Bool("update", false, "write the golden files anew; a change of theirs changes every key")

func digest(s string) artifacts.Digest { return artifacts.Sum([]byte(s)) }

func blob(s string) artifacts.Blob {
	return artifacts.Blob{MediaType: artifacts.FileMediaType, Digest: digest(s), Size: int64(len(s))}
}

func sampleManifest() *artifacts.Manifest {
	return &artifacts.Manifest{
		Type: "model/hf",
		Files: []artifacts.File{
			{Path: "config.json", Blob: blob("{}")},
			{Path: "convert.sh", Exec: true, Blob: blob("#!/bin/sh\n")},
			{Path: "weights/model.safetensors", Blob: blob("weights")},
		},
		Labels: map[string]string{"synthetic": "true"},
	}
}

func sampleAction() *artifacts.Action {
	return &artifacts.Action{
		Format: artifacts.ActionFormat, Kind: "gptq", Command: []string{"{dir}/worker", "--fast"},
		Params:  json.RawMessage(`{"group_size": 64, "bits": 4, "damp": 1e-2, "note": "ä<&>"}`),
		Inputs:  map[string]artifacts.Digest{"model": digest("model"), "calibration[b]": digest("tokens")},
		Outputs: map[string]string{"model": "model/hf"},
		Worker:  digest("worker"), Env: digest("env"), Facts: map[string]string{"gpu.arch": "sm_90"}, Salt: "2",
	}
}

func sampleRecord() *artifacts.Record {
	_, key, err := sampleAction().Encode()
	if err != nil {
		panic(err)
	}
	_, out, err := sampleManifest().Encode()
	if err != nil {
		panic(err)
	}
	began := time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.FixedZone("", 3600))
	return &artifacts.Record{
		Key: key, Outputs: map[string]artifacts.Digest{"model": out},
		Metrics:  map[string]float64{"bits_per_weight": 4.25, "flops": 1e17, "loss": -0.5e-7},
		Observed: map[string]string{"network": "none", "peak_memory_bytes": "1048576"},
		Log:      digest("log"), Builder: "tinfra 0.1.0", Started: began, Ended: began.Add(90 * time.Second),
	}
}

func sampleBuild() *artifacts.Build {
	rec := sampleRecord()
	_, d, err := rec.Encode()
	if err != nil {
		panic(err)
	}
	return &artifacts.Build{
		ID: "20260102T020405Z-00c0de", Recipe: digest("recipe"), RecipePath: "recipes/smollm2-int4.hcl",
		Variables: map[string]string{"bits": "4"}, Targets: []string{"gptq.int4"}, Lock: digest("lock"), Commit: "c0ffee", Host: "lab",
		Started: rec.Started, Ended: rec.Ended,
		Steps: []artifacts.Step{
			{Address: "gptq.int4", Kind: "gptq", Key: rec.Key, Record: d, State: artifacts.Ran, Reason: "params.bits changed: 8 → 4", Log: rec.Log},
			{Address: "perplexity.int4", Kind: "perplexity", State: artifacts.Blocked},
		},
		Exit: 3, Problem: "one stage failed",
	}
}

// encoded gives each kind of object, its bytes and its decoder.
func encoded(t testing.TB) map[string]struct {
	bytes  []byte
	decode func([]byte) (any, error)
} {
	t.Helper()
	m, _, err1 := sampleManifest().Encode()
	a, _, err2 := sampleAction().Encode()
	r, _, err3 := sampleRecord().Encode()
	b, _, err4 := sampleBuild().Encode()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	type object = struct {
		bytes  []byte
		decode func([]byte) (any, error)
	}
	return map[string]object{
		"manifest": {m, func(b []byte) (any, error) { return artifacts.DecodeManifest(b) }},
		"action":   {a, func(b []byte) (any, error) { return artifacts.DecodeAction(b) }},
		"record":   {r, func(b []byte) (any, error) { return artifacts.DecodeRecord(b) }},
		"build":    {b, func(b []byte) (any, error) { return artifacts.DecodeBuild(b) }},
	}
}

func TestGolden(t *testing.T) {
	for name, o := range encoded(t) {
		path := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(path, o.bytes, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(o.bytes, want) {
			t.Errorf("%s is now encoded as\n%s\nand was\n%s", name, o.bytes, want)
		}
	}
}

func TestDecodeGivesWhatWasEncoded(t *testing.T) {
	o := encoded(t)
	m, err := artifacts.DecodeManifest(o["manifest"].bytes)
	if err != nil || !reflect.DeepEqual(m, sampleManifest()) {
		t.Errorf("manifest: %+v, %v", m, err)
	}
	a, err := artifacts.DecodeAction(o["action"].bytes)
	if err != nil {
		t.Fatal(err)
	}
	if string(a.Params) != `{"bits":4,"damp":0.01,"group_size":64,"note":"ä<&>"}` {
		t.Errorf("params: %s", a.Params)
	}
	r, err := artifacts.DecodeRecord(o["record"].bytes)
	if err != nil || !r.Started.Equal(sampleRecord().Started) || r.Metrics["flops"] != 1e17 {
		t.Errorf("record: %+v, %v", r, err)
	}
	b, err := artifacts.DecodeBuild(o["build"].bytes)
	if err != nil || len(b.Steps) != 2 || b.Steps[0] != sampleBuild().Steps[0] {
		t.Errorf("build: %+v, %v", b, err)
	}
}

// One spelling: white space, another order, unknown, doubled and differently cased fields are all refused.
func TestDecodeRefusesOtherSpellings(t *testing.T) {
	for name, o := range encoded(t) {
		text := string(o.bytes)
		first, _, _ := strings.Cut(text[2:], `"`)
		for what, bad := range map[string]string{
			"empty":         "",
			"null":          "null",
			"a list":        "[]",
			"truncated":     text[:len(text)-1],
			"more after it": text + "{}",
			"a line break":  text + "\n",
			"white space":   strings.Replace(text, ":", ": ", 1),
			"unknown field": `{"Aaa":1,` + text[1:],
			"field twice":   text[:len(text)-1] + `,"` + first + `":null}`,
			"upper case":    strings.Replace(text, `"`+first+`"`, `"`+strings.ToUpper(first)+`"`, 1),
			"not UTF-8":     strings.Replace(text, "m", "\xff", 1),
			"deep nesting":  strings.Repeat("[", 1<<20),
		} {
			if v, err := o.decode([]byte(bad)); !errors.Is(err, artifacts.ErrDamaged) {
				t.Errorf("%s, %s: %v, %v", name, what, v, err)
			}
		}
	}
}

func TestDecodeManifestRefuses(t *testing.T) {
	good, _, err := sampleManifest().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string][2]string{
		"path out":           {"config.json", "../config.json"},
		"absolute path":      {"config.json", "/config.json"},
		"backslash":          {"config.json", `a\\config.json`},
		"NUL":                {"config.json", `a\u0000b`},
		"not sorted":         {"config.json", "z.json"},
		"a path twice":       {"convert.sh", "config.json"},
		"only case differs":  {"config.json", "CONVERT.SH"},
		"file and folder":    {"convert.sh", "weights"},
		"no title":           {`"org.opencontainers.image.title":"config.json"`, `"a":"b"`},
		"other media type":   {artifacts.FileMediaType, "application/octet-stream"},
		"other kind of type": {"application/vnd.tinfra.model.hf.v1", "application/vnd.oci.model.hf.v1"},
		"later version":      {"application/vnd.tinfra.model.hf.v1", "application/vnd.tinfra.model.hf.v2"},
		"other config":       {"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", strings.Repeat("0", 64)},
		"negative size":      {`"size":10`, `"size":-10`},
		"size of 2^63":       {`"size":10`, `"size":9223372036854775808`},
		"size as float":      {`"size":10`, `"size":1e1`},
		"exec is false":      {`"vnd.tinfra.exec":"true"`, `"vnd.tinfra.exec":"false"`},
		"foreign annotation": {"vnd.tinfra.label.synthetic", "org.opencontainers.image.created"},
		"bad digest":         {digest("{}").Hex(), strings.ToUpper(digest("{}").Hex())},
		"schema 1":           {`"schemaVersion":2`, `"schemaVersion":1`},
	} {
		bad := strings.Replace(string(good), change[0], change[1], 1)
		if bad == string(good) {
			t.Errorf("%s: nothing changed", what)
		}
		if m, err := artifacts.DecodeManifest([]byte(bad)); !errors.Is(err, artifacts.ErrDamaged) {
			t.Errorf("%s: %+v, %v", what, m, err)
		}
	}
}

func TestJCS(t *testing.T) {
	for _, c := range []struct {
		in   any
		want string // "" is a refusal
	}{
		{map[string]any{"b": 1, "a": []int{}, "é": nil}, `{"a":[],"b":1,"é":null}`},
		{json.RawMessage(`{ "x" : 1.0, "y": 1E3, "z": -0 }`), `{"x":1,"y":1000,"z":0}`},
		{1.5, `1.5`},
		{int64(1) << 53, `9007199254740992`},
		{int64(1)<<53 + 1, ""},
		{-(int64(1)<<53 + 1), ""},
		{uint64(math.MaxUint64), ""},
		{json.RawMessage(`123456789012345678901234567890`), ""},
		{json.RawMessage(`1e400`), ""},
		{json.RawMessage(`{"a":1,"a":2}`), ""},
		{math.NaN(), ""},
		{math.Inf(1), ""},
		{make(chan int), ""},
	} {
		got, err := artifacts.JCS(c.in)
		if string(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("JCS(%v) = %s, %v; want %s", c.in, got, err, c.want)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	action := func(change func(*artifacts.Action)) func() error {
		return func() error {
			a := sampleAction()
			change(a)
			_, _, err := a.Encode()
			return err
		}
	}
	record := func(v float64) func() error {
		return func() error {
			r := sampleRecord()
			r.Metrics["loss"] = v
			_, _, err := r.Encode()
			return err
		}
	}
	for what, c := range map[string]struct {
		encode func() error
		says   string
	}{
		"metric NaN":         {record(math.NaN()), `"loss"`},
		"metric -Inf":        {record(math.Inf(-1)), `"loss"`},
		"other format":       {action(func(a *artifacts.Action) { a.Format = 2 }), "format 2"},
		"no params":          {action(func(a *artifacts.Action) { a.Params = nil }), "JSON object"},
		"params a list":      {action(func(a *artifacts.Action) { a.Params = json.RawMessage("[]") }), "JSON object"},
		"params broken":      {action(func(a *artifacts.Action) { a.Params = json.RawMessage("{") }), "JSON"},
		"null in params":     {action(func(a *artifacts.Action) { a.Params = json.RawMessage(`{"a":null}`) }), "null"},
		"big integer":        {action(func(a *artifacts.Action) { a.Params = json.RawMessage(`{"a":9007199254740993}`) }), "2^53"},
		"a key twice":        {action(func(a *artifacts.Action) { a.Params = json.RawMessage(`{"a":1,"a":1}`) }), "RFC 8785"},
		"not NFC":            {action(func(a *artifacts.Action) { a.Salt = "e\u0301" }), "normal form"},
		"params not NFC":     {action(func(a *artifacts.Action) { a.Params = json.RawMessage("{\"a\":\"e\u0301\"}") }), "normal form"},
		"facts not UTF-8":    {action(func(a *artifacts.Action) { a.Facts["x"] = "\xff" }), "UTF-8"},
		"params not UTF-8":   {action(func(a *artifacts.Action) { a.Params = json.RawMessage("{\"a\":\"\xff\"}") }), "UTF-8"},
		"manifest, bad type": {func() error { _, _, err := (&artifacts.Manifest{Type: "Model.HF"}).Encode(); return err }, "type"},
		"manifest, no digest": {func() error {
			_, _, err := (&artifacts.Manifest{Type: "files", Files: []artifacts.File{{Path: "a"}}}).Encode()
			return err
		}, "no digest"},
	} {
		if err := c.encode(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", what, err, c.says)
		}
	}
}

// Altering any field of an Action alters its key, those too that someone adds later.
func TestEveryFieldOfAnActionIsInItsKey(t *testing.T) {
	_, before, err := sampleAction().Encode()
	if err != nil {
		t.Fatal(err)
	}
	typ := reflect.TypeFor[artifacts.Action]()
	for i := range typ.NumField() {
		name := typ.Field(i).Name
		a := sampleAction()
		v := reflect.ValueOf(a).Elem().Field(i)
		switch x := v.Interface().(type) {
		case int: // Format: other values are refused, see TestEncodeRefuses
			if name == "Format" {
				continue
			}
			v.SetInt(v.Int() + 1)
		case string:
			v.SetString(x + "x")
		case []string:
			v.Set(reflect.ValueOf(append(x, "x")))
		case json.RawMessage:
			v.SetBytes([]byte(`{"bits":3}`))
		case map[string]string:
			x["more"] = "x"
		case map[string]artifacts.Digest:
			x["more"] = digest("more")
		case artifacts.Digest:
			v.Set(reflect.ValueOf(digest(name)))
		default:
			t.Fatalf("%s has a type that this test does not know: %v", name, v.Type())
		}
		_, after, err := a.Encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if after == before {
			t.Errorf("%s is not in the key", name)
		}
	}
}
