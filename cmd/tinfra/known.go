package main

import (
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
}

// known are the stages of which nothing in the cache is among what has changed.
func (s *standing) known(store *disk.Store, changed map[string]bool) *known {
	k := &known{of: s, stages: make(map[artifacts.Key]*stood, len(s.Stages))}
	for i := range s.Stages {
		if st := &s.Stages[i]; !st.changed(store, changed) {
			k.stages[st.Key] = st
		}
	}
	return k
}

func (s *stood) changed(store *disk.Store, changed map[string]bool) bool {
	files, err := s.files(store)
	if err != nil {
		return true
	}
	for _, file := range files {
		if changed[file] {
			return true
		}
	}
	return false
}

// files of the cache are what a stage's result is found by.
func (s *stood) files(store *disk.Store) ([]string, error) {
	files := append(make([]string, 0, 4), store.KeyFile(s.Key), store.BlobFile(s.Key.Digest()), store.BlobFile(s.Record))
	for _, text := range s.unpackRest().Outputs {
		d, err := artifacts.ParseDigest(text)
		if err != nil {
			return nil, err
		}
		files = append(files, store.BlobFile(d))
	}
	return files, nil
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
	rec := &artifacts.Record{
		Key: key, Outputs: make(map[string]artifacts.Digest, len(rest.Outputs)), Metrics: s.Metrics, Observed: rest.Observed, Log: s.Log,
		Builder: s.Builder, Started: s.Started, Ended: s.Ended,
	}
	for port, text := range rest.Outputs {
		d, err := artifacts.ParseDigest(text)
		if err != nil {
			return nil, artifacts.Digest{}
		}
		rec.Outputs[port] = d
	}
	return rec, s.Record
}

// carry takes a stage over into what the next build may stand on, with what was read of it; nil where that is not all known.
func (k *known) carry(step artifacts.Step, store *disk.Store, reads *reading.Log, to *standing) *stood {
	s := k.stage(step.Key, step.Record)
	if s == nil {
		return nil
	}
	files, err := s.files(store)
	if err != nil {
		return nil
	}
	for _, path := range files {
		f, ok := k.of.Readings.File(path)
		if !ok {
			return nil
		}
		reads.Again(f)
	}
	carried, rest := *s, s.unpackRest()
	for i, n := range rest.Files {
		if n < 0 || n >= k.of.Blobs.len() {
			return nil
		}
		rest.Files[i] = to.Blobs.place(k.of.Blobs.at(n))
	}
	carried.Address, carried.rest = step.Address, rest.pack()
	return &carried
}
