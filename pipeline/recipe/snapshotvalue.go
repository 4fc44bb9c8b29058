package recipe

import (
	"bytes"
	"math/big"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// value writes one of plain data, exactly: a number has all its bits. The type is left out where it is the declared one.
func (w *snapshotWriter) value(v cty.Value, declared cty.Type) {
	if v == cty.NilVal || v.ContainsMarked() || !v.IsWhollyKnown() {
		w.refused = true
		return
	}
	is := v.Type().Equals(declared)
	w.Truth(is)
	if !is {
		text, err := ctyjson.MarshalType(v.Type())
		if err != nil || bytes.Contains(text, []byte(`\ufffd`)) { // of a capsule; of names that JSON has no text for
			w.refused = true
			return
		}
		w.text(string(text))
	}
	w.inner(v)
}

func (w *snapshotWriter) inner(v cty.Value) {
	w.Truth(!v.IsNull())
	if v.IsNull() {
		return
	}
	switch t := v.Type(); {
	case t == cty.String:
		w.text(v.AsString())
	case t == cty.Bool:
		w.Truth(v.True())
	case t == cty.Number:
		b, err := v.AsBigFloat().GobEncode()
		w.refused = w.refused || err != nil
		w.text(string(b))
	case t.IsListType() || t.IsSetType() || t.IsTupleType() || t.IsMapType():
		w.Number(int64(v.LengthInt()))
		for it := v.ElementIterator(); it.Next(); {
			k, e := it.Element()
			if t.IsMapType() {
				w.text(k.AsString())
			}
			w.inner(e)
		}
	case t.IsObjectType():
		for _, name := range sortedKeys(t.AttributeTypes()) {
			w.inner(v.GetAttr(name))
		}
	default:
		w.refused = true
	}
}

func (s *snapshotReader) value(declared cty.Type) cty.Value {
	if s.Truth() {
		return s.inner(declared)
	}
	text := s.text()
	t, ok := s.types[text]
	if !ok {
		var err error
		if t, err = ctyjson.UnmarshalType([]byte(text)); err != nil {
			s.fail(err)
			return cty.DynamicVal
		}
		if s.types == nil {
			s.types = map[string]cty.Type{}
		}
		s.types[text] = t
	}
	return s.inner(t)
}

func (s *snapshotReader) inner(t cty.Type) cty.Value {
	if !s.Truth() {
		return cty.NullVal(t)
	}
	switch {
	case t == cty.String:
		return cty.StringVal(s.text())
	case t == cty.Bool:
		return cty.BoolVal(s.Truth())
	case t == cty.Number:
		f := new(big.Float)
		if err := f.GobDecode([]byte(s.text())); err != nil {
			s.fail(err)
		}
		return cty.NumberVal(f)
	case t.IsTupleType():
		return s.tuple(t.TupleElementTypes())
	case t.IsObjectType():
		attrs := t.AttributeTypes()
		all := make(map[string]cty.Value, len(attrs))
		for _, name := range sortedKeys(attrs) {
			all[name] = s.inner(attrs[name])
		}
		return cty.ObjectVal(all)
	case t.IsMapType():
		return s.mapping(t.ElementType())
	case t.IsListType() || t.IsSetType():
		return s.elements(t)
	}
	s.fail(errSnapshot)
	return cty.DynamicVal
}

func (s *snapshotReader) tuple(types []cty.Type) cty.Value {
	if s.Count(1) != len(types) {
		s.fail(errSnapshot)
		return cty.DynamicVal
	}
	all := make([]cty.Value, len(types))
	for i, t := range types {
		all[i] = s.inner(t)
	}
	return cty.TupleVal(all)
}

func (s *snapshotReader) mapping(t cty.Type) cty.Value {
	n := s.Count(2)
	if n == 0 {
		return cty.MapValEmpty(t)
	}
	all := make(map[string]cty.Value, n)
	for range n {
		key := s.text()
		all[key] = s.inner(t)
	}
	return cty.MapVal(all)
}

func (s *snapshotReader) elements(t cty.Type) cty.Value {
	all := make([]cty.Value, s.Count(1))
	for i := range all {
		all[i] = s.inner(t.ElementType())
	}
	switch {
	case len(all) == 0 && t.IsSetType():
		return cty.SetValEmpty(t.ElementType())
	case len(all) == 0:
		return cty.ListValEmpty(t.ElementType())
	case t.IsSetType():
		return cty.SetVal(all)
	}
	return cty.ListVal(all)
}
