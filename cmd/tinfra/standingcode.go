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
	packTexts(&p, r.Outputs)
	packTexts(&p, r.Observed)
	p.Number(int64(len(r.Files)))
	last := 0
	for _, n := range r.Files {
		p.Number(int64(n - last))
		last = n
	}
	return string(p.Bytes)
}

func (s *stood) unpackRest() stoodRest {
	u := reading.NewUnpacker(s.rest)
	r := stoodRest{Outputs: unpackTexts(u), Observed: unpackTexts(u), Files: make([]int, u.Count(1))}
	last := 0
	for i := range r.Files {
		last += int(u.Number())
		r.Files[i] = last
	}
	return r
}

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
