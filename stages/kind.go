// Package stages is the catalogue of stage kinds, read from each kind's stage.hcl. It knows what a kind accepts, needs
// and makes, and which files its worker consists of. It must not know recipes, keys, caches, or how a worker is run.
package stages

import (
	"io/fs"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// Determinism says what a second run of the same Action may give.
type Determinism string

const (
	Exact       Determinism = "exact"       // the same bytes; anything else is an error
	Statistical Determinism = "statistical" // the first writer wins; divergence is recorded
	Measured    Determinism = "measured"    // a measurement of the machine; its facts are in the key
)

// Kind is what one stage.hcl declares.
type Kind struct {
	Name          string
	Doc           string
	Env           string // folder under stages/env, or beside the recipe's kinds; "" for none
	Determinism   Determinism
	Facts         []string // names of executor facts that enter the key
	OptionalFacts []string // further such names; those that the executor does not state are left out
	Needs         Needs
	Network       bool
	Native        bool     // `exec`: argv is a param, no worker
	Command       []string // argv in place of worker.py; {dir} is the worker's folder
	Uses          []string // further folders of the catalogue's root in the worker tree
	Params        []Param  // as declared, in order
	Secrets       []Secret
	Inputs        []Input
	Outputs       []Output
	Metrics       []Metric

	Root   fs.FS  // catalogue root: a folder of kinds
	Dir    string // this kind's folder in Root
	Origin string // where stage.hcl stands, for people
}

// Needs is what of a machine a run requires; never in a key.
type Needs struct {
	CPUs         float64 // cores; 0 means 1
	MemoryGiB    float64
	GPUsMin      int
	GPUsMax      int
	GPUMemoryGiB float64 // of each of its GPUs, at most; 0: not said, so it has them alone
	Exclusive    bool    // nothing else runs beside it
}

// Param is a value that decides the output. Type is never unknown; a Default of cty.NilVal makes it required
// unless Optional, where an absent one is left out of the Action.
type Param struct {
	Name     string
	Doc      string
	Type     cty.Type
	Default  cty.Value
	Optional bool
	OneOf    []cty.Value
	Min, Max *float64
	Integer  bool
	Pattern  string // RE2 that a string must match
	Source   bool   // a download source: the lock pins it, and the key holds the pins in its place
	Environ  bool   // `exec`: names of environment variables; their values enter the Action
}

// Secret is a param that takes secret("NAME") only, and reaches the worker as the environment variable Env.
type Secret struct {
	Name, Env, Doc string
}

// Input is a port that takes artifacts. Types holds "*" where any will do. Map takes a map of artifacts. Envs is, by type, the
// environment of a stage that is given one of it, where that is not the kind's.
type Input struct {
	Name, Doc string
	Types     []string
	Envs      map[string]string
	Optional  bool
	Map       bool
}

// Output is a port that holds one artifact. Pinned: its file list is what the lock pins.
type Output struct {
	Name, Doc, Type string
	Optional        bool
	Pinned          bool
}

// Result tells whether the port holds what was found out, rather than what can be run or read on.
func (o *Output) Result() bool { return o.Type == "result" || strings.HasPrefix(o.Type, "result/") }

// Metric is a number that a worker reports. Quality ones mean nothing on a synthetic model.
type Metric struct {
	Name, Doc, Unit string
	Better          string // "lower", "higher" or ""
	Quality         bool
}

// Param finds a declared param, or nil.
func (k *Kind) Param(name string) *Param {
	return find(k.Params, func(p *Param) string { return p.Name }, name)
}

// Secret finds a declared secret, or nil.
func (k *Kind) Secret(name string) *Secret {
	return find(k.Secrets, func(s *Secret) string { return s.Name }, name)
}

// Input finds a declared input port, or nil.
func (k *Kind) Input(name string) *Input {
	return find(k.Inputs, func(i *Input) string { return i.Name }, name)
}

// Output finds a declared output port, or nil.
func (k *Kind) Output(name string) *Output {
	return find(k.Outputs, func(o *Output) string { return o.Name }, name)
}

// Metric finds a declared metric, or nil.
func (k *Kind) Metric(name string) *Metric {
	return find(k.Metrics, func(m *Metric) string { return m.Name }, name)
}

func find[T any](all []T, name func(*T) string, want string) *T {
	for i := range all {
		if name(&all[i]) == want {
			return &all[i]
		}
	}
	return nil
}

// Catalog is all kinds that a recipe may use, by name.
type Catalog struct {
	Kinds map[string]*Kind
	SDK   fs.FS // holds the folder tinfra_worker, part of every Python worker's tree

	// Files has the text of every stage.hcl read, for diagnostics' snippets.
	Files map[string]*hcl.File
	envs  map[string]bool // environments that a kind may name
}
