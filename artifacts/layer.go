package artifacts

import "strings"

// Bytes of a manifest: without its files, and of a file without its path, about.
const (
	encodedManifest = 1 << 10
	encodedFile     = 240
)

func (m *Manifest) encodedSize() int {
	n := encodedManifest + encodedFile*len(m.Files)
	for i := range m.Files {
		n += len(m.Files[i].Path)
	}
	return n
}

func (m *Manifest) artifactType() string {
	return typePrefix + strings.ReplaceAll(m.Type, "/", ".") + typeSuffix
}

func (m *Manifest) write(e *encoder) {
	e.open('{')
	if len(m.Labels) > 0 {
		e.member("annotations")
		e.labels(m.Labels)
	}
	e.member("artifactType")
	e.text(m.artifactType())
	e.member("config")
	e.emptyLayer()
	e.member("layers")
	e.open('[')
	for i := range m.Files {
		e.next()
		m.Files[i].write(e)
	}
	if len(m.Files) == 0 {
		e.emptyLayer() // registries want one layer at least
	}
	e.close(']')
	e.member("mediaType")
	e.text(ManifestMediaType)
	e.member("schemaVersion")
	e.integer(schemaVersion)
	e.close('}')
}

func (e *encoder) labels(labels map[string]string) {
	named := make(map[string]string, len(labels))
	for name, value := range labels {
		named[labelPrefix+name] = value
	}
	encodeMap(e, named, e.text)
}

func (e *encoder) emptyLayer() {
	e.open('{')
	e.member("digest")
	e.digest(emptyDigest)
	e.member("mediaType")
	e.text(emptyMediaType)
	e.member("size")
	e.integer(emptySize)
	e.close('}')
}

func (f *File) write(e *encoder) {
	e.open('{')
	e.member("annotations")
	e.open('{')
	e.member(titleKey)
	e.text(f.Path)
	if f.Exec {
		e.member(execKey)
		e.text("true")
	}
	e.close('}')
	e.member("digest")
	e.digest(f.Digest)
	e.member("mediaType")
	e.text(FileMediaType)
	e.member("size")
	e.integer(f.Size)
	e.close('}')
}

func (m *Manifest) read(d *decoder) {
	d.want("{")
	if d.optional("annotations") {
		m.Labels = d.labels()
	}
	d.member("artifactType")
	typ, _ := strings.CutPrefix(d.text(), typePrefix)
	m.Type = strings.ReplaceAll(strings.TrimSuffix(typ, typeSuffix), ".", "/")
	d.member("config")
	d.layer()
	d.member("layers")
	for d.want("["); d.more("]"); {
		if f, ok := d.layer(); ok {
			m.Files = append(m.Files, f)
		}
	}
	d.member("mediaType")
	d.want(`"` + ManifestMediaType + `"`)
	d.member("schemaVersion")
	d.integer()
	d.want("}")
}

// rewrite is write of what was read.
func (m *Manifest) rewrite(e *encoder) {
	if e.odd = m.check() != nil; !e.odd {
		m.write(e)
	}
}

func (d *decoder) labels() map[string]string {
	named := decodeMap(d, d.text)
	labels := make(map[string]string, len(named))
	for name, value := range named {
		labels[strings.TrimPrefix(name, labelPrefix)] = value
	}
	return labels
}

// layer gives a file; false for the empty one.
func (d *decoder) layer() (f File, ok bool) {
	d.want("{")
	if ok = d.optional("annotations"); ok {
		d.want("{")
		d.member(titleKey)
		f.Path = d.text()
		if f.Exec = d.optional(execKey); f.Exec {
			d.want(`"true"`)
		}
		d.want("}")
	}
	d.member("digest")
	f.Digest = d.digest()
	d.member("mediaType")
	if f.MediaType = FileMediaType; ok {
		d.want(`"` + FileMediaType + `"`)
	} else {
		d.text()
	}
	d.member("size")
	f.Size = d.integer()
	d.want("}")
	return f, ok
}
