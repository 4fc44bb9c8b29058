package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/reading"
)

// standingFormat changes with what is remembered, so that another tinfra's is not taken for ours.
const standingFormat = 4

func (s *standing) encode() ([]byte, error) {
	note, err := json.Marshal(s.standingNote)
	if err != nil {
		return nil, fmt.Errorf("remembering the build: %w", err)
	}
	p := &reading.Packer{Bytes: make([]byte, 0, 512*len(s.Stages)+blobRoom*s.Blobs.len()+len(note))}
	p.Number(standingFormat)
	p.Text(string(note))
	s.Loaded.Pack(p)
	s.Readings.Pack(p)
	p.Text(s.Blobs.packed())
	p.Number(int64(len(s.Stages)))
	for i := range s.Stages {
		s.Stages[i].pack(p)
	}
	return p.Bytes, nil
}

func (s *stood) pack(p *reading.Packer) {
	p.Text(s.Address)
	p.Text(s.Kind)
	p.Digest(s.Key.Digest())
	p.Digest(s.Record)
	p.Digest(s.Log)
	p.Number(int64(len(s.Metrics)))
	for _, name := range sortedKeys(s.Metrics) {
		p.Text(name)
		p.Number(int64(math.Float64bits(s.Metrics[name])))
	}
	p.Text(s.Builder)
	p.Number(s.Started.UnixNano())
	p.Number(s.Ended.UnixNano())
	p.Number(s.PeakBytes)
	p.Number(s.Size)
	p.Truth(s.Synthetic)
	p.Text(s.rest)
}

func (r *stoodRest) pack() string {
	var p reading.Packer
	packFiles(&p, r.Files)
	p.Number(int64(len(r.Outputs)))
	for _, port := range sortedKeys(r.Outputs) {
		p.Text(port)
		p.Digest(r.Outputs[port])
	}
	packTexts(&p, r.Observed)
	return string(p.Bytes)
}

func packFiles(p *reading.Packer, files []int) {
	p.Number(int64(len(files)))
	last := 0
	for _, n := range files {
		p.Number(int64(n - last))
		last = n
	}
}

func (s *stood) unpackRest() stoodRest {
	u := reading.NewUnpacker(s.rest)
	r := stoodRest{Files: unpackFiles(u), Outputs: map[string]artifacts.Digest{}}
	for range u.Count(leastOutput) {
		port := u.Text()
		r.Outputs[port] = u.Digest()
	}
	r.Observed = unpackTexts(u)
	return r
}

func unpackFiles(u *reading.Unpacker) []int {
	files := make([]int, u.Count(1))
	last := 0
	for i := range files {
		last += int(u.Number())
		files[i] = last
	}
	return files
}

// renumber gives the rest with the files in other places; ok is false where one has none.
func (s *stood) renumber(place func(int) (int, bool)) (rest string, ok bool) {
	u := reading.NewUnpacker(s.rest)
	files := unpackFiles(u)
	same := true
	for i, was := range files {
		if files[i], ok = place(was); !ok {
			return "", false
		}
		same = same && files[i] == was
	}
	if same {
		return s.rest, true
	}
	var p reading.Packer
	packFiles(&p, files)
	return string(p.Bytes) + u.Rest(), true
}

// blobs are what a result is found by in the cache, beside the pointer of its key: action, record and manifests.
func (s *stood) blobs() []artifacts.Digest {
	u := reading.NewUnpacker(s.rest)
	for range u.Count(1) {
		u.Number()
	}
	all := append(make([]artifacts.Digest, 0, 4), s.Key.Digest(), s.Record)
	for range u.Count(leastOutput) {
		u.Text()
		all = append(all, u.Digest())
	}
	return all
}

// leastOutput is the least room of an output, in bytes.
const leastOutput = 1 + len(artifacts.Digest{})

func packTexts(p *reading.Packer, m map[string]string) {
	p.Number(int64(len(m)))
	for _, name := range sortedKeys(m) {
		p.Text(name)
		p.Text(m[name])
	}
}

// leastStood is the least room of a stage, in bytes.
const leastStood = 100

func decodeStanding(packed string) (*standing, error) {
	u := reading.NewUnpacker(packed)
	if format := u.Number(); format != standingFormat {
		return nil, fmt.Errorf("what is remembered of the build has format %d", format)
	}
	s := &standing{}
	if err := json.Unmarshal([]byte(u.Text()), &s.standingNote); err != nil {
		return nil, fmt.Errorf("reading what is remembered of the build: %w", errors.Join(u.Err, err))
	}
	s.Loaded = reading.UnpackReadings(u)
	s.Readings = reading.UnpackReadings(u)
	s.Blobs.read = u.Text()
	s.Stages = make([]stood, u.Count(leastStood))
	for i := range s.Stages {
		s.Stages[i].unpack(u)
	}
	if len(s.Blobs.read)%blobRoom != 0 {
		return nil, errors.New("reading what is remembered of the build: a blob is cut")
	}
	if u.Err != nil {
		return nil, fmt.Errorf("reading what is remembered of the build: %w", u.Err)
	}
	return s, nil
}

func (s *stood) unpack(u *reading.Unpacker) {
	s.Address, s.Kind = u.Text(), u.Text()
	s.Key, s.Record, s.Log = artifacts.Key(u.Digest()), u.Digest(), u.Digest()
	if n := u.Count(2); n > 0 {
		s.Metrics = make(map[string]float64, n)
		for range n {
			name := u.Text()
			s.Metrics[name] = math.Float64frombits(uint64(u.Number()))
		}
	}
	s.Builder = u.Text()
	s.Started, s.Ended = time.Unix(0, u.Number()).UTC(), time.Unix(0, u.Number()).UTC()
	s.PeakBytes, s.Size, s.Synthetic = u.Number(), u.Number(), u.Truth()
	s.rest = u.Text()
}

func unpackTexts(u *reading.Unpacker) map[string]string {
	n := u.Count(2)
	if n == 0 {
		return nil
	}
	m := make(map[string]string, n)
	for range n {
		name := u.Text()
		m[name] = u.Text()
	}
	return m
}
