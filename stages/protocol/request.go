package protocol

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"path"
	"regexp"
	"sync"
)

var (
	digestText = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^sha256:[0-9a-f]{64}$`) })
	hexText    = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{64}$`) })
)

// DecodeRequest reads and checks a request.json; an error names the field. Unknown fields are ignored, so that a later
// tinfra may say more without a new version.
func DecodeRequest(text []byte) (*Request, error) {
	o, err := parse(text)
	if err != nil {
		return nil, err
	}
	o.version()
	r := &Request{Protocol: Version, Kind: o.text("kind")}
	o.object("params")
	r.Params = compact(o.fields["params"])
	r.Inputs = decodeInputs(o.object("inputs"))
	o.need("outputs")
	r.Outputs = o.texts("outputs")
	r.Resources = decodeResources(o.object("resources"))
	r.Source = o.optionalText("source")
	r.Resolved = o.texts("resolved")
	r.Pins = decodePins(o.list("pins"))
	r.RecipeDir = o.absolute("recipe_dir")
	r.Checkpoint = o.absolute("checkpoint")
	if o.has("settings") {
		r.Settings = make(map[string]json.RawMessage)
		for name, value := range o.object("settings").fields {
			r.Settings[name] = compact(value)
		}
	}
	if err := o.done(); err != nil {
		return nil, err
	}
	return r, nil
}

func decodeInputs(o *object) map[string]Input {
	all := make(map[string]Input, len(o.fields))
	for _, name := range o.names() {
		sub := o.object(name)
		in := Input{Path: sub.text("path"), Type: sub.text("type"), Digest: sub.text("digest"), Labels: sub.texts("labels")}
		if !fs.ValidPath(in.Path) || in.Path == "." {
			sub.fail("path", "%q is not a path inside the workspace", cut(in.Path))
		}
		if !digestText().MatchString(in.Digest) {
			sub.fail("digest", "%q is not sha256: and 64 lower-case hex digits", cut(in.Digest))
		}
		all[name] = in
	}
	return all
}

func decodeResources(o *object) Resources {
	r := Resources{CPUs: int(o.whole("cpus", 1)), MemoryGiB: o.notNegative("memory_gib")}
	for _, gpu := range o.list("gpus") {
		r.GPUs = append(r.GPUs, gpu.text(""))
	}
	return r
}

func decodePins(list []*object) []Pin {
	var all []Pin
	for _, element := range list {
		o := element.object("")
		o.path = element.path + "."
		p := Pin{Path: o.text("path"), SHA256: o.text("sha256"), Size: o.whole("size", 0)}
		if !fs.ValidPath(p.Path) || p.Path == "." {
			o.fail("path", "%q is not a path inside the output", cut(p.Path))
		}
		if !hexText().MatchString(p.SHA256) {
			o.fail("sha256", "%q is not 64 lower-case hex digits", cut(p.SHA256))
		}
		all = append(all, p)
	}
	return all
}

func (o *object) absolute(name string) string {
	p := o.optionalText(name)
	if p != "" && !path.IsAbs(p) {
		o.fail(name, "must be an absolute path, not %q", cut(p))
	}
	return p
}

// compact takes the white space out of a value that has been parsed before.
func compact(raw json.RawMessage) json.RawMessage {
	var out bytes.Buffer
	if json.Compact(&out, raw) != nil {
		return raw
	}
	return out.Bytes()
}
