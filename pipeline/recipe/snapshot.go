package recipe

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/pipeline/reading"
	"github.com/Ruihan11/tiny-infra/stages"
)

// snapshotFormat changes with what a snapshot holds.
const snapshotFormat = 2

// snapshotPart is how many stages are read by one, as long as there are more.
const snapshotPart = 1 << 9

// Snapshot writes down all that Load found, so that the same recipe need not be parsed and evaluated again: as long as nothing
// of what Load read has changed, Restore gives what Load would. ok is false for a recipe whose requirements are evaluated later,
// in scopes that only Load makes.
func (r *Recipe) Snapshot() (packed []byte, ok bool) {
	w := &snapshotWriter{numbers: map[string]int64{}, named: map[string]bool{r.Path: true}}
	w.text(r.Path)
	w.text(r.Dir)
	w.text(r.Description)
	w.Number(int64(len(r.Stages)))
	w.begun = len(w.Bytes)
	for i, s := range r.Stages {
		w.stage(s)
		if (i+1)%snapshotPart == 0 || i == len(r.Stages)-1 {
			w.endPart()
		}
	}
	w.values(r.Variables)
	w.outputs(r.Outputs)
	w.reports(r.Reports)
	w.lock(r.Lock)
	w.text(string(r.Source))
	w.Number(int64(len(r.Modules)))
	for _, rel := range sortedKeys(r.Modules) {
		w.text(rel)
		w.text(string(r.Modules[rel]))
	}
	w.files(r.Texts())
	if w.refused {
		return nil, false
	}
	return w.whole(), true
}

// Restore gives the recipe of a snapshot, with the kinds of a catalogue that is as it was when Load used it.
func Restore(packed string, catalog *stages.Catalog) (*Recipe, error) {
	u := reading.NewUnpacker(packed)
	if format := u.Number(); format != snapshotFormat {
		return nil, fmt.Errorf("the snapshot of the recipe has format %d", format)
	}
	texts := make([]string, u.Count(1))
	for i := range texts {
		texts[i] = u.Text()
	}
	s := &snapshotReader{Unpacker: u, texts: texts, catalog: catalog}
	r := &Recipe{Path: s.text(), Dir: s.text(), Description: s.text()}
	if err := s.stages(r); err != nil {
		return nil, err
	}
	r.Variables = s.values()
	r.Outputs = s.outputs()
	r.Reports = s.reports()
	r.Lock = s.lock()
	r.Source = []byte(s.text())
	r.Modules = make(map[string][]byte)
	for range s.Count(2) {
		rel := s.text()
		r.Modules[rel] = []byte(s.text())
	}
	r.texts = s.files()
	return r, s.wrong()
}

// snapshotWriter writes each text once, and its number wherever it stands: files and folders are named again and again.
type snapshotWriter struct {
	reading.Packer
	begun   int // where the stages that are not in a part yet begin
	texts   []string
	numbers map[string]int64 // of texts
	named   map[string]bool  // files that places are in
	refused bool             // something cannot be written down
}

func (w *snapshotWriter) text(s string) {
	n, ok := w.numbers[s]
	if !ok {
		n = int64(len(w.texts))
		w.numbers[s] = n
		w.texts = append(w.texts, s)
	}
	w.Number(n)
}

// endPart puts its length before the stages that were written since the last part.
func (w *snapshotWriter) endPart() {
	part := string(w.Bytes[w.begun:])
	w.Bytes = w.Bytes[:w.begun]
	w.Text(part)
	w.begun = len(w.Bytes)
}

func (w *snapshotWriter) whole() []byte {
	p := reading.Packer{Bytes: make([]byte, 0, 2*len(w.Bytes))}
	p.Number(snapshotFormat)
	p.Number(int64(len(w.texts)))
	for _, text := range w.texts {
		p.Text(text)
	}
	return append(p.Bytes, w.Bytes...)
}

func (w *snapshotWriter) place(at hcl.Range) {
	w.named[at.Filename] = true
	w.text(at.Filename)
	for _, n := range []int{
		at.Start.Line, at.Start.Column, at.Start.Byte, at.End.Line - at.Start.Line, at.End.Column, at.End.Byte - at.Start.Byte,
	} {
		w.Number(int64(n))
	}
}

// snapshotReader reads what a snapshotWriter wrote.
type snapshotReader struct {
	*reading.Unpacker
	texts   []string
	catalog *stages.Catalog
	types   map[string]cty.Type // by their texts
	broken  error
}

var errSnapshot = errors.New("it does not fit together")

func (s *snapshotReader) fail(err error) {
	if s.broken == nil {
		s.broken = err
	}
}

func (s *snapshotReader) wrong() error {
	if err := errors.Join(s.Err, s.broken); err != nil {
		return fmt.Errorf("reading the snapshot of the recipe: %w", err)
	}
	return nil
}

func (s *snapshotReader) text() string {
	n := s.Number()
	if n < 0 || n >= int64(len(s.texts)) {
		s.fail(errSnapshot)
		return ""
	}
	return s.texts[n]
}

func (s *snapshotReader) place() hcl.Range {
	at := hcl.Range{Filename: s.text()}
	at.Start = hcl.Pos{Line: int(s.Number()), Column: int(s.Number()), Byte: int(s.Number())}
	at.End = hcl.Pos{Line: at.Start.Line + int(s.Number()), Column: int(s.Number()), Byte: at.Start.Byte + int(s.Number())}
	return at
}

// stages reads the parts side by side.
func (s *snapshotReader) stages(r *Recipe) error {
	n := s.Count(leastStage)
	if n > 0 {
		r.Stages = make([]*Stage, n)
	}
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	for from := 0; from < n; from += snapshotPart {
		part := &snapshotReader{Unpacker: reading.NewUnpacker(s.Text()), texts: s.texts, catalog: s.catalog}
		into := r.Stages[from:min(from+snapshotPart, n)]
		work.Go(func() error {
			made := make([]Stage, len(into))
			for i := range into {
				into[i] = &made[i]
				part.stage(into[i])
			}
			return part.wrong()
		})
	}
	return errors.Join(work.Wait(), s.wrong())
}

// files writes those that a place is in: a text of the command line that is none of these may hold what must not be kept.
func (w *snapshotWriter) files(all map[string]*hcl.File) {
	names := sortedKeys(all)
	kept := names[:0:0]
	for _, name := range names {
		if w.named[name] {
			kept = append(kept, name)
		}
	}
	w.Number(int64(len(kept)))
	for _, name := range kept {
		w.text(name)
		w.text(string(all[name].Bytes))
		_, parsed := all[name].Body.(*hclsyntax.Body)
		w.Truth(parsed)
	}
}

// files parses only when somebody asks: that is for mistakes, and for places that no stage holds.
func (s *snapshotReader) files() func() map[string]*hcl.File {
	type file struct {
		name, text string
		parsed     bool
	}
	all := make([]file, s.Count(3))
	for i := range all {
		all[i] = file{s.text(), s.text(), s.Truth()}
	}
	return sync.OnceValue(func() map[string]*hcl.File {
		files := make(map[string]*hcl.File, len(all))
		for _, f := range all {
			files[f.name] = &hcl.File{Bytes: []byte(f.text), Body: hcl.EmptyBody()}
			if f.parsed {
				files[f.name], _ = parseText([]byte(f.text), f.name, partSize)
			}
		}
		return files
	})
}
