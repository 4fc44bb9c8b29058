// Package report makes documents of what was built: a comparison of rows of runs, with the record behind every figure,
// as one HTML page, Markdown, JSON, CSV or a table for a terminal. It knows records, their metrics and how they hang
// together. It must not know recipes' syntax, the catalogue of kinds, or where the documents are put: what it needs of
// those, its caller hands in.
package report

import (
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Format is the version of the JSON document; it is raised when a field changes its meaning.
const Format = 1

// Question is what a report shall be made of.
type Question struct {
	Name        string // of the report block; "" for a report that nobody declared
	Title       string
	Description string
	Baseline    string // a row's name; "" for none
	Rows        []Asked
	Runs        []*Run // all that may be shown, producers first; those of Rows are among them
	Build       *artifacts.Build
	Kinds       map[string]Kind
	Recipe      Recipe
	Envs        []Environment
}

// Asked is a row: a name, and the records whose figures stand in it, the later ones winning.
type Asked struct {
	Name string
	Runs []*Run
}

// Recipe is the text that was built.
type Recipe struct {
	Name    string   `json:"name,omitempty"` // of the file, without its folder
	Text    string   `json:"text,omitempty"`
	Modules []Module `json:"modules,omitempty"`
	Lock    []Source `json:"lock,omitempty"`
}

// Module is the text of a file that the recipe calls.
type Module struct {
	Path string `json:"path"` // from the recipe's folder
	Text string `json:"text"`
}

// Source is a download as the lock pins it.
type Source struct {
	Source   string            `json:"source"`
	Resolved map[string]string `json:"resolved,omitempty"`
	Files    int               `json:"files"`
	Bytes    int64             `json:"bytes"`
}

// Kind is what a stage kind declares about its figures.
type Kind struct {
	Metrics  []Metric
	Measured bool // of the machine: speed, memory
}

// Metric is a number that runs of a kind report.
type Metric struct {
	Name, Doc, Unit string
	Better          string // "lower", "higher" or ""
	Quality         bool
}

// Report is a document's content; the renderers only lay it out. Its JSON is the documented format.
type Report struct {
	Format       int           `json:"format"`
	Name         string        `json:"name,omitempty"`
	Title        string        `json:"title"`
	Description  string        `json:"description,omitempty"`
	Baseline     string        `json:"baseline,omitempty"`
	Synthetic    bool          `json:"synthetic"` // a figure of it comes from a made-up model
	Columns      []*Column     `json:"columns"`
	Rows         []*Row        `json:"rows"`
	Fronts       []Front       `json:"fronts"`
	Build        *Build        `json:"build,omitempty"`
	Records      []*Evidence   `json:"records"` // behind the figures, and what those were made from
	Edges        []Edge        `json:"edges"`
	Protocols    []Protocol    `json:"protocols"`
	Environments []Environment `json:"environments"`
	Recipe       Recipe        `json:"recipe"`
}

// Column is one figure that rows may have.
type Column struct {
	ID       string   `json:"id"` // METRIC, KIND.METRIC or KIND.METRIC[VARIANT]
	Metric   string   `json:"metric"`
	Kinds    []string `json:"kinds,omitempty"`
	Variant  string   `json:"variant,omitempty"` // what tells two stages of one kind in a row apart: "batch 4"
	Group    string   `json:"group"`
	Label    string   `json:"label"`
	Unit     string   `json:"unit,omitempty"`
	Better   string   `json:"better,omitempty"`
	Quality  bool     `json:"quality,omitempty"`
	Headline bool     `json:"headline,omitempty"` // one of the first table's
	Doc      string   `json:"doc,omitempty"`
	Low      string   `json:"low,omitempty"`  // what the low end of its intervals is
	High     string   `json:"high,omitempty"` // and the high end
	scale    scale
}

// Row is one line of the comparison.
type Row struct {
	Name    string    `json:"name"`
	Stages  []string  `json:"stages"`
	Figures []*Figure `json:"figures"` // in the order of the columns; those it has not are left out
	runs    []*Run
}

// Figure is one number and where it comes from.
type Figure struct {
	Column    string             `json:"column"`
	Value     float64            `json:"value"`
	Low       *float64           `json:"low,omitempty"`
	High      *float64           `json:"high,omitempty"`
	Ratio     *float64           `json:"ratio,omitempty"` // to the baseline's
	Best      bool               `json:"best,omitempty"`
	Stage     string             `json:"stage"`
	Build     string             `json:"build,omitempty"`
	Records   []artifacts.Digest `json:"records"` // one, but for sums over several runs
	Synthetic bool               `json:"synthetic,omitempty"`
}

// Front is the Pareto front of two columns: the rows that no other row beats in both.
type Front struct {
	X    string   `json:"x"`
	Y    string   `json:"y"`
	Rows []string `json:"rows"`
}

// Build is the build that the figures are taken from.
type Build struct {
	ID        string            `json:"id"`
	RecipeSum artifacts.Digest  `json:"recipe,omitzero"`
	LockSum   artifacts.Digest  `json:"lock,omitzero"`
	Commit    string            `json:"commit,omitempty"`
	Host      string            `json:"host,omitempty"`
	Variables map[string]string `json:"variables,omitempty"`
	Targets   []string          `json:"targets,omitempty"`
	Started   time.Time         `json:"started"`
	Ended     time.Time         `json:"ended"`
	Exit      int               `json:"exit"`
	Problem   string            `json:"problem,omitempty"`
	Hits      int               `json:"hits"`
	Ran       int               `json:"ran"`
	Failed    int               `json:"failed,omitempty"`
	Blocked   int               `json:"blocked,omitempty"`
	SavedSecs float64           `json:"savedSeconds"` // what the hits once took to run
	Steps     []Step            `json:"steps"`
}

// Step is a stage of the build. Seconds are those of its run, also where that was another build's.
type Step struct {
	Address string           `json:"address"`
	Kind    string           `json:"kind"`
	State   artifacts.State  `json:"state"`
	Reason  string           `json:"reason,omitempty"`
	Record  artifacts.Digest `json:"record,omitzero"`
	Started time.Time        `json:"started,omitzero"`
	Seconds float64          `json:"seconds,omitempty"`
	shared  bool             // an earlier step of this build has the same record
}

// Edge says that one run's artifact entered another. From and To are records.
type Edge struct {
	From artifacts.Digest `json:"from"`
	To   artifacts.Digest `json:"to"`
	Port string           `json:"port"`
}

// Protocol is one way in which figures were measured, and the stages that were measured so.
type Protocol struct {
	Kind   string            `json:"kind"`
	Fields map[string]string `json:"fields"`
	Stages []string          `json:"stages"`
}

// Environment is a locked Python environment that runs were made in.
type Environment struct {
	Digest   artifacts.Digest `json:"digest"`
	OS       string           `json:"os"`
	Arch     string           `json:"arch"`
	Libc     string           `json:"libc,omitempty"`
	Python   string           `json:"python,omitempty"`
	Packages []Package        `json:"packages"`
	Kinds    []string         `json:"kinds"`
}

// Package is one pinned distribution.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}
