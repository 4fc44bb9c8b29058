package artifacts

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"
)

// Media types of what the cache stores. Actions, records and builds are never in a manifest; theirs are for export.
const (
	FileMediaType     = "application/vnd.tinfra.file.v1"
	ManifestMediaType = "application/vnd.oci.image.manifest.v1+json"
	ActionMediaType   = "application/vnd.tinfra.action.v1+json"
	RecordMediaType   = "application/vnd.tinfra.record.v1+json"
	BuildMediaType    = "application/vnd.tinfra.build.v1+json"
	LogMediaType      = "text/plain"
)

const (
	emptyMediaType = "application/vnd.oci.empty.v1+json"
	emptySize      = 2 // "{}"
	schemaVersion  = 2
	titleKey       = "org.opencontainers.image.title"
	execKey        = "vnd.tinfra.exec"
	labelPrefix    = "vnd.tinfra.label."
	typePrefix     = "application/vnd.tinfra."
	typeSuffix     = ".v1"
)

var (
	emptyDigest = Sum([]byte("{}"))
	typePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9_-]+(/[a-z0-9_-]+)*$`) })
)

// ociManifest is the part of an OCI 1.1 image manifest that is used here.
type ociManifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        ociDescriptor     `json:"config"`
	Layers        []ociDescriptor   `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type ociDescriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      Digest            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

func emptyDescriptor() ociDescriptor {
	return ociDescriptor{MediaType: emptyMediaType, Digest: emptyDigest, Size: emptySize}
}

// Size is the sum of the files' sizes.
func (m *Manifest) Size() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// Encode gives the bytes that are stored and their digest. Equal manifests have equal bytes.
func (m *Manifest) Encode() ([]byte, Digest, error) {
	if err := m.check(); err != nil {
		return nil, Digest{}, fmt.Errorf("manifest: %w", err)
	}
	e := encoder{b: make([]byte, 0, m.encodedSize())}
	if m.write(&e); !e.odd {
		return e.b, Sum(e.b), nil
	}
	o := ociManifest{
		SchemaVersion: schemaVersion,
		MediaType:     ManifestMediaType,
		ArtifactType:  m.artifactType(),
		Config:        emptyDescriptor(),
	}
	for _, f := range m.Files {
		notes := map[string]string{titleKey: f.Path}
		if f.Exec {
			notes[execKey] = "true"
		}
		o.Layers = append(o.Layers, ociDescriptor{FileMediaType, f.Digest, f.Size, notes})
	}
	if len(o.Layers) == 0 {
		o.Layers = []ociDescriptor{emptyDescriptor()} // registries want one layer at least
	}
	for name, value := range m.Labels {
		if o.Annotations == nil {
			o.Annotations = make(map[string]string, len(m.Labels))
		}
		o.Annotations[labelPrefix+name] = value
	}
	b, err := JCS(o)
	if err != nil {
		return nil, Digest{}, fmt.Errorf("manifest: %w", err)
	}
	return b, Sum(b), nil
}

// DecodeManifest accepts only what Encode writes; names in it are safe to lay out through os.Root.
func DecodeManifest(b []byte) (*Manifest, error) {
	m := new(Manifest)
	if readPlain(b, m.read, m.rewrite) {
		return m, nil
	}
	var o ociManifest
	err := decodeExact("manifest", b, &o, func() ([]byte, error) {
		var err error
		if m, err = o.manifest(); err != nil {
			return nil, err
		}
		again, _, err := m.Encode()
		return again, err
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (o *ociManifest) manifest() (*Manifest, error) {
	if o.SchemaVersion != schemaVersion || o.MediaType != ManifestMediaType {
		return nil, fmt.Errorf("it is not an OCI image manifest (schema %d, media type %q)", o.SchemaVersion, clip(o.MediaType))
	}
	typ, ok := strings.CutPrefix(o.ArtifactType, typePrefix)
	if typ, ok = cutSuffix(typ, typeSuffix, ok); !ok {
		return nil, fmt.Errorf("artifact type %q is not one of tinfra's", clip(o.ArtifactType))
	}
	m := &Manifest{Type: strings.ReplaceAll(typ, ".", "/")}
	for _, l := range o.Layers {
		if l.MediaType == emptyMediaType && len(o.Layers) == 1 {
			break
		}
		if l.MediaType != FileMediaType {
			return nil, fmt.Errorf("layer of media type %q", clip(l.MediaType))
		}
		f := File{
			Path: l.Annotations[titleKey],
			Exec: l.Annotations[execKey] == "true",
			Blob: Blob{MediaType: FileMediaType, Digest: l.Digest, Size: l.Size},
		}
		m.Files = append(m.Files, f)
	}
	for k, v := range o.Annotations {
		name, ok := strings.CutPrefix(k, labelPrefix)
		if !ok {
			return nil, fmt.Errorf("unknown annotation %q", clip(k))
		}
		if m.Labels == nil {
			m.Labels = make(map[string]string, len(o.Annotations))
		}
		m.Labels[name] = v
	}
	return m, nil
}

func cutSuffix(s, suffix string, ok bool) (string, bool) {
	if !ok {
		return s, false
	}
	return strings.CutSuffix(s, suffix)
}

func (m *Manifest) check() error {
	if !typePattern().MatchString(m.Type) {
		return fmt.Errorf("type %q: want lower-case words joined by slashes", clip(m.Type))
	}
	for _, f := range m.Files {
		switch {
		case f.MediaType != "" && f.MediaType != FileMediaType:
			return fmt.Errorf("%s: media type %q, but every file is %s", f.Path, f.MediaType, FileMediaType)
		case f.Size < 0 || f.Size > maxInteger:
			return fmt.Errorf("%s: size %d", f.Path, f.Size)
		case f.Digest.IsZero():
			return fmt.Errorf("%s: no digest", f.Path)
		}
	}
	for name, value := range m.Labels {
		if name == "" || !utf8.ValidString(name) || !utf8.ValidString(value) {
			return errors.New("a label has no name, or is not UTF-8")
		}
	}
	return CheckFiles(m.Files)
}
