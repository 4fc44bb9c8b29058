// Package recipe turns HCL text into a checked Recipe: variables, locals, functions, expanded stages, references to
// ports, requirements and outputs, with all mistakes as diagnostics. It also reads the two files beside a recipe, the
// lock and tinfra.hcl. It must not know any cache, machine or key.
package recipe

import (
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/Ruihan11/tiny-infra/stages"
)

// Recipe is a checked recipe; every stage is one instance, for_each expanded.
type Recipe struct {
	Path        string // as given
	Dir         string // absolute; path() and file:// are relative to it
	Source      []byte
	Description string
	Variables   map[string]cty.Value // as set or defaulted; sensitive ones absent
	Stages      []*Stage             // in source order, instances of one block in key order
	Outputs     []*Output
	Reports     []*Report // in source order, those of modules where the module is called
	Lock        *Lock
	Files       map[string]*hcl.File // for diagnostics' snippets; nil of one that was restored: see Texts
	Modules     map[string][]byte    // text of each module's file, by its path below Dir

	texts func() map[string]*hcl.File // parses the files of one that was restored
}

// Texts are the Files, which a recipe that was restored parses when they are first asked for.
func (r *Recipe) Texts() map[string]*hcl.File {
	if r.texts != nil {
		return r.texts()
	}
	return r.Files
}

// Stage finds an instance by its address, or nil.
func (r *Recipe) Stage(address string) *Stage {
	for _, s := range r.Stages {
		if s.Address == address {
			return s
		}
	}
	return nil
}

// Stage is one instance of a stage block.
type Stage struct {
	Address  string // kind.name or kind.name["key"], behind the addresses of the modules that it stands in
	Module   string // module.NAME, with its key if it has one; "" of a stage of the recipe itself
	Kind     *stages.Kind
	Name     string
	Key      string // of for_each; "" without
	Range    hcl.Range
	Params   map[string]Param     // every declared param; defaults filled in, optional absent ones left out
	Inputs   map[string]Input     // by port; or "port[key]" for a map of artifacts
	Secrets  map[string]SecretRef // by secret param
	Requires []*Require
	Salt     string
	Timeout  time.Duration // 0: none
	Retries  int           // of transient failures; -1: the default
	Needs    stages.Needs  // the kind's, overridden by the stage's `needs` block
}

// Block is the address of the stage's block, which stands for all of its instances.
func (s *Stage) Block() string {
	if s.Module == "" {
		return s.Kind.Name + "." + s.Name
	}
	return s.Module + "." + s.Kind.Name + "." + s.Name
}

// Param is a value with the place that says so. A default has the stage block's header as its Range.
type Param struct {
	Value   cty.Value // of the declared type; known, no marks, no capsules
	Default bool
	Range   hcl.Range
}

// Input is one artifact given to a port: a Ref or local files.
type Input struct {
	Ref   *Ref
	Files *Files
	Range hcl.Range
}

// Ref is an edge: an output port of another instance.
type Ref struct {
	Address string
	Port    string
	Type    string
}

// Files is what path() matched, relative to the recipe's folder, sorted.
type Files struct {
	Pattern string
	Dir     string // absolute folder the paths are relative to
	Paths   []string
}

// SecretRef is secret("NAME"): the name only, never the value.
type SecretRef struct {
	Variable string // of the environment
	Range    hcl.Range
}

// MetricRef is a metric that a require reads. Address "" stands for the stage's own.
type MetricRef struct {
	Address string
	Name    string
}

// Require is checked on records' metrics, on hits too; it enters no key.
type Require struct {
	Condition hcl.Expression
	Message   hcl.Expression
	Context   *hcl.EvalContext // variables, locals, each; metrics are added when it is checked
	Reads     []MetricRef      // all it may consult
	Range     hcl.Range

	eval *evaluation // how it was loaded; nil for one made by hand, which reads its own metrics only
}

// Output is what a build hands out by name: a port of a stage, or a plain value.
type Output struct {
	Name  string
	Doc   string
	Ref   *Ref      // or
	Value cty.Value // when Ref is nil
	Range hcl.Range
}

// Report is a comparison that a recipe asks for. It enters no key and orders nothing.
type Report struct {
	Name     string // of the block; of one in a module, module.NAME.name
	Title    string // "" where none is given
	Doc      string
	Baseline string // a row's name; "" none
	Rows     []ReportRow
	Range    hcl.Range
}

// ReportRow is what is compared: the results of several stages that belong together.
type ReportRow struct {
	Name   string
	Stages []string // addresses of instances, in the order given, each once
	Range  hcl.Range
}

// Lock is <recipe>.lock.hcl: what each download source resolves to, keyed by the source string.
type Lock struct {
	Path    string
	Sources map[string]*Source
}

// Source is one entry of the lock.
type Source struct {
	Source   string
	Resolved map[string]string // commit, archive_sha256, …; never in a key
	Files    []Pin             // sorted by path
}

// Pin is one file of a source.
type Pin struct {
	Path   string
	SHA256 string
	Size   int64
}
