package recipe

import "github.com/zclconf/go-cty/cty"

// values are written with their types: what a variable may be is not kept.
func (w *snapshotWriter) values(all map[string]cty.Value) {
	w.Number(int64(len(all)))
	for _, name := range sortedKeys(all) {
		w.text(name)
		w.value(all[name], cty.NilType)
	}
}

func (s *snapshotReader) values() map[string]cty.Value {
	n := s.Count(2)
	all := make(map[string]cty.Value, n)
	for range n {
		name := s.text()
		all[name] = s.value(cty.NilType)
	}
	return all
}

func (w *snapshotWriter) outputs(all []*Output) {
	w.Number(int64(len(all)))
	for _, o := range all {
		w.text(o.Name)
		w.text(o.Doc)
		w.place(o.Range)
		w.Truth(o.Ref != nil)
		if o.Ref != nil {
			w.ref(o.Ref)
		} else {
			w.value(o.Value, cty.NilType)
		}
	}
}

func (s *snapshotReader) outputs() []*Output {
	var all []*Output
	for range s.Count(leastPlace) {
		o := &Output{Name: s.text(), Doc: s.text(), Range: s.place()}
		if s.Truth() {
			o.Ref = s.ref()
		} else {
			o.Value = s.value(cty.NilType)
		}
		all = append(all, o)
	}
	return all
}

func (w *snapshotWriter) reports(all []*Report) {
	w.Number(int64(len(all)))
	for _, r := range all {
		for _, text := range []string{r.Name, r.Title, r.Doc, r.Baseline} {
			w.text(text)
		}
		w.place(r.Range)
		w.Number(int64(len(r.Rows)))
		for _, row := range r.Rows {
			w.text(row.Name)
			w.list(row.Stages)
			w.place(row.Range)
		}
	}
}

func (s *snapshotReader) reports() []*Report {
	var all []*Report
	for range s.Count(leastPlace) {
		r := &Report{Name: s.text(), Title: s.text(), Doc: s.text(), Baseline: s.text(), Range: s.place()}
		for range s.Count(leastPlace) {
			r.Rows = append(r.Rows, ReportRow{Name: s.text(), Stages: s.list(), Range: s.place()})
		}
		all = append(all, r)
	}
	return all
}

// lock is written as it was read: what a build adds to the file is read from there.
func (w *snapshotWriter) lock(l *Lock) {
	w.Truth(l != nil)
	if l == nil {
		return
	}
	w.named[l.Path] = true
	w.text(l.Path)
	w.Number(int64(len(l.Sources)))
	for _, name := range sortedKeys(l.Sources) {
		from := l.Sources[name]
		w.text(name)
		w.text(from.Source)
		w.Truth(from.Resolved != nil)
		w.Number(int64(len(from.Resolved)))
		for _, key := range sortedKeys(from.Resolved) {
			w.text(key)
			w.text(from.Resolved[key])
		}
		w.Truth(from.Files != nil)
		w.Number(int64(len(from.Files)))
		for _, p := range from.Files {
			w.text(p.Path)
			w.text(p.SHA256)
			w.Number(p.Size)
		}
	}
}

func (s *snapshotReader) lock() *Lock {
	if !s.Truth() {
		return nil
	}
	l := &Lock{Path: s.text(), Sources: map[string]*Source{}}
	for range s.Count(2) {
		name := s.text()
		l.Sources[name] = s.source()
	}
	return l
}

func (s *snapshotReader) source() *Source {
	from := &Source{Source: s.text()}
	if there := s.Truth(); there {
		from.Resolved = map[string]string{}
	}
	for range s.Count(2) {
		key, text := s.text(), s.text()
		if from.Resolved != nil {
			from.Resolved[key] = text
		}
	}
	there, n := s.Truth(), s.Count(3)
	if there {
		from.Files = make([]Pin, n)
	}
	for i := range from.Files {
		from.Files[i] = Pin{s.text(), s.text(), s.Number()}
	}
	return from
}
