package recipe

import (
	"slices"

	"github.com/Ruihan11/tiny-infra/stages"
)

// Env is the environment that the stage runs in, "" for none: its kind's, or the one that the type of an input asks for.
func (s *Stage) Env() (string, error) {
	if !slices.ContainsFunc(s.Kind.Inputs, func(in stages.Input) bool { return in.Envs != nil }) {
		return s.Kind.Env, nil
	}
	types := make(map[string]string, len(s.Inputs))
	for port, in := range s.Inputs {
		types[port] = filesType
		if in.Ref != nil {
			types[port] = in.Ref.Type
		}
	}
	return s.Kind.EnvOf(types)
}

// oneEnvironment refuses a stage whose inputs cannot be used together.
func (l *loader) oneEnvironment(s *Stage) {
	if _, err := s.Env(); err != nil {
		l.problem(&s.Range, "Two environments", "%s: %s.", s.Address, err)
	}
}
