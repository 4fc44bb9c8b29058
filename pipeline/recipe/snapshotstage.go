package recipe

import (
	"math"
	"time"

	"github.com/Ruihan11/tiny-infra/stages"
)

// stage writes one. What its kind says as well is not repeated.
func (w *snapshotWriter) stage(s *Stage) {
	if len(s.Requires) > 0 {
		w.refused = true
		return
	}
	w.text(s.Kind.Name)
	for _, text := range []string{s.Address, s.Module, s.Name, s.Key, s.Salt} {
		w.text(text)
	}
	w.place(s.Range)
	w.Number(int64(s.Timeout))
	w.Number(int64(s.Retries))
	w.needs(s)
	w.params(s)
	w.Number(int64(len(s.Inputs)))
	for _, port := range sortedKeys(s.Inputs) {
		w.text(port)
		w.input(s.Inputs[port])
	}
	w.Number(int64(len(s.Secrets)))
	for _, name := range sortedKeys(s.Secrets) {
		w.text(name)
		w.text(s.Secrets[name].Variable)
		w.place(s.Secrets[name].Range)
	}
}

func (s *snapshotReader) stage(to *Stage) {
	to.Kind = s.catalog.Kinds[s.text()]
	if to.Kind == nil {
		s.fail(errSnapshot)
		to.Kind = &stages.Kind{}
	}
	to.Address, to.Module, to.Name, to.Key, to.Salt = s.text(), s.text(), s.text(), s.text(), s.text()
	to.Range = s.place()
	to.Timeout, to.Retries = time.Duration(s.Number()), int(s.Number())
	s.needs(to)
	s.params(to)
	n := s.Count(leastInput)
	to.Inputs = make(map[string]Input, n)
	for range n {
		port := s.text()
		to.Inputs[port] = s.input()
	}
	n = s.Count(leastInput)
	to.Secrets = make(map[string]SecretRef, n)
	for range n {
		name := s.text()
		to.Secrets[name] = SecretRef{Variable: s.text(), Range: s.place()}
	}
}

// The least room of each, in bytes.
const (
	leastPlace = 7
	leastInput = 1 + 1 + leastPlace
	leastStage = 6 + leastPlace + 5
)

func (w *snapshotWriter) needs(s *Stage) {
	n := s.Needs
	w.Truth(n == s.Kind.Needs)
	if n == s.Kind.Needs {
		return
	}
	w.Number(int64(math.Float64bits(n.CPUs)))
	w.Number(int64(math.Float64bits(n.MemoryGiB)))
	w.Number(int64(n.GPUsMin))
	w.Number(int64(n.GPUsMax))
	w.Number(int64(math.Float64bits(n.GPUMemoryGiB)))
	w.Truth(n.Exclusive)
}

func (s *snapshotReader) needs(to *Stage) {
	if s.Truth() {
		to.Needs = to.Kind.Needs
		return
	}
	to.Needs = stages.Needs{
		CPUs: math.Float64frombits(uint64(s.Number())), MemoryGiB: math.Float64frombits(uint64(s.Number())),
		GPUsMin: int(s.Number()), GPUsMax: int(s.Number()),
		GPUMemoryGiB: math.Float64frombits(uint64(s.Number())), Exclusive: s.Truth(),
	}
}

// What a snapshot has of a param.
const (
	paramAbsent = iota
	paramOfKind // the kind's default, at the header of the block
	paramDefault
	paramSet
)

func (w *snapshotWriter) params(s *Stage) {
	written := 0
	for i := range s.Kind.Params {
		k := &s.Kind.Params[i]
		p, ok := s.Params[k.Name]
		if !ok {
			w.Number(paramAbsent)
			continue
		}
		written++
		switch {
		case p.Default && p.Range == s.Range && p.Value.RawEquals(k.Default):
			w.Number(paramOfKind)
			continue
		case p.Default:
			w.Number(paramDefault)
		default:
			w.Number(paramSet)
		}
		w.value(p.Value, k.Type)
		w.place(p.Range)
	}
	if written != len(s.Params) {
		w.refused = true
	}
}

func (s *snapshotReader) params(to *Stage) {
	to.Params = make(map[string]Param, len(to.Kind.Params))
	for i := range to.Kind.Params {
		k := &to.Kind.Params[i]
		switch is := s.Number(); is {
		case paramAbsent:
		case paramOfKind:
			to.Params[k.Name] = Param{Value: k.Default, Default: true, Range: to.Range}
		default:
			to.Params[k.Name] = Param{Value: s.value(k.Type), Default: is == paramDefault, Range: s.place()}
		}
	}
}

// What a snapshot has of an input.
const (
	inputNothing = iota
	inputRef
	inputFiles
)

func (w *snapshotWriter) input(in Input) {
	w.place(in.Range)
	switch {
	case in.Ref != nil && in.Files != nil:
		w.refused = true
	case in.Ref != nil:
		w.Number(inputRef)
		w.ref(in.Ref)
	case in.Files != nil:
		w.Number(inputFiles)
		w.text(in.Files.Pattern)
		w.text(in.Files.Dir)
		w.list(in.Files.Paths)
	default:
		w.Number(inputNothing)
	}
}

func (s *snapshotReader) input() Input {
	in := Input{Range: s.place()}
	switch s.Number() {
	case inputRef:
		in.Ref = s.ref()
	case inputFiles:
		in.Files = &Files{Pattern: s.text(), Dir: s.text(), Paths: s.list()}
	}
	return in
}

func (w *snapshotWriter) ref(r *Ref) {
	w.text(r.Address)
	w.text(r.Port)
	w.text(r.Type)
}

func (s *snapshotReader) ref() *Ref { return &Ref{Address: s.text(), Port: s.text(), Type: s.text()} }

// list keeps one that is empty apart from none.
func (w *snapshotWriter) list(all []string) {
	w.Truth(all != nil)
	w.Number(int64(len(all)))
	for _, text := range all {
		w.text(text)
	}
}

func (s *snapshotReader) list() []string {
	there, n := s.Truth(), s.Count(1)
	if !there {
		return nil
	}
	all := make([]string, n)
	for i := range all {
		all[i] = s.text()
	}
	return all
}
