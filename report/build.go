package report

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// newBuild tells what became of a build's stages; nil without a build.
func newBuild(b *artifacts.Build, runs []*Run) *Build {
	if b == nil {
		return nil
	}
	out := &Build{
		ID: b.ID, RecipeSum: b.Recipe, LockSum: b.Lock, Commit: b.Commit, Host: b.Host, Variables: b.Variables, Targets: b.Targets,
		Started: b.Started, Ended: b.Ended, Exit: b.Exit, Problem: b.Problem, Steps: []Step{},
	}
	byRecord := map[artifacts.Digest]*Run{}
	for _, r := range runs {
		byRecord[r.Record] = r
	}
	saved := map[artifacts.Digest]bool{}
	for _, s := range b.Steps {
		step := Step{Address: s.Address, Kind: s.Kind, State: s.State, Reason: s.Reason, Record: s.Record}
		if r := byRecord[s.Record]; r != nil && !s.Record.IsZero() {
			step.Started, step.Seconds, step.shared = r.Started, r.Seconds(), saved[s.Record]
			if s.State == artifacts.Hit && !saved[s.Record] {
				out.SavedSecs += step.Seconds
			}
			saved[s.Record] = true
		}
		switch s.State {
		case artifacts.Hit:
			out.Hits++
		case artifacts.Ran:
			out.Ran++
		case artifacts.Failed:
			out.Failed++
		case artifacts.Blocked:
			out.Blocked++
		}
		out.Steps = append(out.Steps, step)
	}
	return out
}

// Evidence is a record as the report lists it: enough to judge a figure, and the command that shows the rest.
type Evidence struct {
	Record   artifacts.Digest   `json:"record"`
	Key      artifacts.Key      `json:"key"`
	Stage    string             `json:"stage"`
	Kind     string             `json:"kind"`
	Build    string             `json:"build,omitempty"`
	Started  time.Time          `json:"started"`
	Seconds  float64            `json:"seconds"`
	Builder  string             `json:"builder"`
	Params   json.RawMessage    `json:"params"`
	Metrics  map[string]float64 `json:"metrics,omitempty"`
	Observed map[string]string  `json:"observed,omitempty"`
	Facts    map[string]string  `json:"facts,omitempty"`
	Env      artifacts.Digest   `json:"env,omitzero"`
	Outputs  map[string]Output  `json:"outputs"`
	Command  string             `json:"command"` // that shows it
	Labels   map[string]string  `json:"labels,omitempty"`
}

// Output is an artifact of a record.
type Output struct {
	Digest artifacts.Digest `json:"digest"`
	Type   string           `json:"type"`
	Bytes  int64            `json:"bytes"`
}

// tell lists the runs behind the rows with all that they were made from, and how they were measured.
func (r *Report) tell(runs []*Run, g *graph) {
	wanted := map[*Run]bool{}
	for _, row := range r.Rows {
		for _, run := range row.runs {
			for _, a := range g.ancestors(run, func(*Run) bool { return true }) {
				wanted[a] = true
			}
		}
	}
	r.Records, r.Protocols = []*Evidence{}, []Protocol{}
	listed := map[artifacts.Digest]bool{}
	for _, run := range runs {
		if !wanted[run] || listed[run.Record] {
			continue
		}
		listed[run.Record] = true
		r.Records = append(r.Records, evidence(run))
		for _, port := range sorted(run.Inputs) {
			if from := g.maker[run.Inputs[port]]; from != nil && from.Record != run.Record {
				r.Edges = append(r.Edges, Edge{From: from.Record, To: run.Record, Port: port})
			}
		}
		r.addProtocol(run)
	}
}

func evidence(run *Run) *Evidence {
	e := &Evidence{
		Record: run.Record, Key: run.Key, Stage: run.Address, Kind: run.Kind, Build: run.BuildID, Started: run.Started.UTC(),
		Seconds: run.Seconds(), Builder: run.Builder, Metrics: run.Metrics, Observed: run.Observed, Facts: run.Facts, Env: run.Env,
		Outputs: map[string]Output{}, Command: "tinfra show " + run.Record.String(), Params: json.RawMessage("{}"),
	}
	if b, err := json.Marshal(run.Params); err == nil && run.Params != nil {
		e.Params = b
	}
	for port, a := range run.Outputs {
		e.Outputs[port] = Output{Digest: a.Digest, Type: a.Type, Bytes: a.Bytes}
		for name, value := range a.Labels {
			if e.Labels == nil {
				e.Labels = map[string]string{}
			}
			e.Labels[name] = value
		}
	}
	return e
}

const protocolKey = "protocol"

// addProtocol gathers the stages of a kind that were measured in one way. Results of different ways are not comparable.
func (r *Report) addProtocol(run *Run) {
	text, ok := run.Observed[protocolKey]
	if !ok {
		return
	}
	var raw map[string]any
	if json.Unmarshal([]byte(text), &raw) != nil {
		raw = map[string]any{protocolKey: text}
	}
	fields := texts(raw)
	same, _ := json.Marshal(fields) // of strings: always encodes
	for i := range r.Protocols {
		other, _ := json.Marshal(r.Protocols[i].Fields)
		if r.Protocols[i].Kind == run.Kind && bytes.Equal(same, other) {
			r.Protocols[i].Stages = append(r.Protocols[i].Stages, run.Address)
			return
		}
	}
	r.Protocols = append(r.Protocols, Protocol{Kind: run.Kind, Fields: fields, Stages: []string{run.Address}})
}

// ParamTexts are the params as people write them.
func (e *Evidence) ParamTexts() map[string]string {
	var params map[string]any
	if json.Unmarshal(e.Params, &params) != nil {
		return nil
	}
	return texts(params)
}
