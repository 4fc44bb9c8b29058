package main

import (
	"path/filepath"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/pipeline/reading"
)

// known are results that were looked at a moment ago: pointer, record, manifests and action are the files that they were when a build
// stood on them, and all blobs are there. So whatever else has changed, nobody needs to read them again. A nil one knows nothing.
type known struct {
	of         *standing
	stages     map[artifacts.Key]*stood
	sameRecipe bool // nothing has changed that the recipe was made from

	pointers, blobs []reading.File // as they were read
}

// known are the stages of which nothing in the cache is among what has changed.
func (s *standing) known(store *disk.Store, changed map[string]bool) *known {
	pointers, blobs := filepath.Dir(store.KeyFile(artifacts.Key{}))+"/", filepath.Dir(store.BlobFile(artifacts.Digest{}))+"/"
	k := &known{of: s, stages: make(map[artifacts.Key]*stood, len(s.Stages)), pointers: s.Readings.In(pointers), blobs: s.Readings.In(blobs)}
	gone := map[artifacts.Digest]bool{} // by the names of their files
	for path := range changed {
		folder, name := filepath.Split(path)
		if d, err := artifacts.ParseHex(name); err == nil && (folder == pointers || folder == blobs) {
			gone[d] = true
		}
	}
	for i := range s.Stages {
		if st := &s.Stages[i]; !st.among(gone) {
			k.stages[st.Key] = st
		}
	}
	return k
}

func (s *stood) among(gone map[artifacts.Digest]bool) bool {
	if len(gone) == 0 {
		return false
	}
	for _, d := range s.blobs() { // the key among them is the pointer's name, too
		if gone[d] {
			return true
		}
	}
	return false
}

// stage is nil where nothing is known of a key, or another record stands for it.
func (k *known) stage(key artifacts.Key, record artifacts.Digest) *stood {
	if k == nil {
		return nil
	}
	if s := k.stages[key]; s != nil && s.Record == record {
		return s
	}
	return nil
}

// record is what stands for a key; nil where that is not known.
func (k *known) record(key artifacts.Key) (*artifacts.Record, artifacts.Digest) {
	if k == nil || k.stages[key] == nil {
		return nil, artifacts.Digest{}
	}
	s := k.stages[key]
	rest := s.unpackRest()
	return &artifacts.Record{
		Key: key, Outputs: rest.Outputs, Metrics: s.Metrics, Observed: rest.Observed, Log: s.Log,
		Builder: s.Builder, Started: s.Started, Ended: s.Ended,
	}, s.Record
}

// carrier takes stages over into what the next build may stand on, with what was read of them.
type carrier struct {
	*known
	to              *standing
	pointers, blobs []bool // of those that were read: they are read of the next build, too
	places          []int  // of the files of outputs in the next build, plus one; 0: not there yet
}

// carrier is nil where nothing is known.
func (k *known) carrier(to *standing) *carrier {
	if k == nil {
		return nil
	}
	return &carrier{
		known: k, to: to, pointers: make([]bool, len(k.pointers)), blobs: make([]bool, len(k.blobs)), places: make([]int, k.of.Blobs.len()),
	}
}

// carry gives nil where not all of a stage is known.
func (c *carrier) carry(step artifacts.Step) *stood {
	if c == nil {
		return nil
	}
	s := c.stage(step.Key, step.Record)
	if s == nil || !c.read(s) {
		return nil
	}
	rest, ok := s.renumber(c.place)
	if !ok {
		return nil
	}
	carried := *s
	carried.Address, carried.rest = step.Address, rest
	return &carried
}

// read is false where something of a stage was not read.
func (c *carrier) read(s *stood) bool {
	n := reading.Named(c.known.pointers, s.Key.Digest())
	if n < 0 {
		return false
	}
	c.pointers[n] = true
	for _, d := range s.blobs() {
		if n := reading.Named(c.known.blobs, d); n >= 0 {
			c.blobs[n] = true
			continue
		}
		return false
	}
	return true
}

// place is where a file of an output is listed in the next build.
func (c *carrier) place(was int) (now int, ok bool) {
	if was < 0 || was >= len(c.places) {
		return 0, false
	}
	if c.places[was] == 0 {
		c.places[was] = c.to.Blobs.again(&c.known.of.Blobs, was) + 1
	}
	return c.places[was] - 1, true
}

// addReadings adds what was read of the stages that were taken over. ok is false where something was read another way since.
func (c *carrier) addReadings() (ok bool) {
	return c == nil || c.to.Readings.Add(picked(c.known.pointers, c.pointers)) && c.to.Readings.Add(picked(c.known.blobs, c.blobs))
}

func picked(all []reading.File, which []bool) []reading.File {
	var some []reading.File
	for i, is := range which {
		if is {
			some = append(some, all[i])
		}
	}
	return some
}
