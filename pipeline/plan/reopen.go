package plan

import (
	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Remake has steps of one key run that were hits, for that reason: the bytes that their record stands for are not to be had. One run makes
// all, that of the step which leads the key already, else of the first.
func (p *Plan) Remake(steps []*Step, reason string) {
	p.planner.mu.Lock()
	defer p.planner.mu.Unlock()
	leader := p.planner.leaders[steps[0].Key]
	if leader == nil {
		leader = steps[0]
		p.planner.leaders[leader.Key] = leader
	}
	for _, s := range steps {
		s.State, s.Reason, s.Record, s.RecordDigest, s.Known, s.Same = Run, reason, nil, artifacts.Digest{}, false, nil
		if s != leader {
			s.Same = leader
		}
	}
}

// Reconsider makes a step pending that was settled by the record of a step which has another one now. Its own record is none until it is
// settled again.
func (p *Plan) Reconsider(s *Step) {
	p.planner.mu.Lock()
	defer p.planner.mu.Unlock()
	if p.planner.leaders[s.Key] == s {
		delete(p.planner.leaders, s.Key)
	}
	for _, other := range p.Steps {
		if other.Same == s {
			other.Same = nil // they keep the key that it may lose
		}
	}
	s.State, s.Reason, s.Action, s.Key, s.Known, s.Same = Pending, "what it uses was made again", nil, artifacts.Key{}, false, nil
	s.Record, s.RecordDigest = nil, artifacts.Digest{}
}

// Made gives a step its record.
func (p *Plan) Made(s *Step, rec *artifacts.Record, digest artifacts.Digest) {
	p.planner.mu.Lock()
	defer p.planner.mu.Unlock()
	s.Record, s.RecordDigest = rec, digest
}
