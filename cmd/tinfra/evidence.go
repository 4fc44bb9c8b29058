package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/lineage"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/report"
	"github.com/Ruihan11/tiny-infra/stages"
)

// evidence gathers what reports are made of: the lineage, the catalogue, and the recipe as it was built.
type evidence struct {
	*archive
	notes io.Writer // is told what has no figures
}

// defaultReport is the name of the comparison that nobody declared.
const defaultReport = "comparison"

func (e *evidence) questions(ctx context.Context, o *reporting) ([]report.Question, error) {
	if len(o.runs) > 0 {
		q, err := e.chosenRuns(ctx, o)
		return []report.Question{q}, err
	}
	b, err := e.findBuild(ctx, o.lookup)
	if err != nil {
		return nil, err
	}
	runs, err := report.ReadRuns(ctx, e.index, lineage.Filter{Build: b.ID})
	if err != nil {
		return nil, err
	}
	r, err := e.recipeOf(b)
	if err != nil {
		return nil, err
	}
	base := report.Question{Build: b, Runs: runs, Kinds: kindsOf(e.catalog)}
	if base.Recipe, err = e.recipeText(ctx, b, r); err != nil {
		return nil, err
	}
	if r == nil || len(r.Reports) == 0 {
		if o.name != "" {
			return nil, usage("--name %s: the recipe has no report blocks", o.name)
		}
		if r != nil {
			base.Description = r.Description
		}
		return e.withoutBlock(ctx, base)
	}
	var out []report.Question
	var names []string
	for _, block := range r.Reports {
		names = append(names, block.Name)
		if o.name != "" && o.name != block.Name {
			continue
		}
		q, err := e.ofBlock(ctx, base, block, o.lookup)
		if err != nil {
			return nil, err
		}
		if len(q.Rows) == 0 {
			return nil, usage("report %s: none of its stages has figures; `tinfra build` comes first", q.Name)
		}
		out = append(out, q)
	}
	if len(out) == 0 {
		return nil, usage("--name %s: there is no such report; there are: %s", o.name, strings.Join(names, ", "))
	}
	return out, nil
}

// withoutBlock asks for a row for each model that the build has measured.
func (e *evidence) withoutBlock(ctx context.Context, q report.Question) ([]report.Question, error) {
	q.Name, q.Title = defaultReport, q.Recipe.Name
	q.Rows = report.DefaultRows(q.Runs, q.Kinds)
	if len(q.Rows) == 0 {
		return nil, usage("build %s has measured nothing that could be compared; a report block in the recipe says what shall stand in the rows", q.Build.ID)
	}
	err := e.addEnvironments(ctx, &q)
	return []report.Question{q}, err
}

// ofBlock finds the runs that a report block names. What has none is said and left out.
func (e *evidence) ofBlock(ctx context.Context, q report.Question, block *recipe.Report, s lookup) (report.Question, error) {
	q.Name, q.Title, q.Description, q.Baseline = block.Name, block.Title, block.Doc, block.Baseline
	if q.Title == "" {
		q.Title = q.Recipe.Name + ": " + block.Name
	}
	outside := false
	for _, row := range block.Rows {
		asked := report.Asked{Name: row.Name}
		for _, address := range row.Stages {
			run, why, err := e.stageRun(ctx, q.Runs, address, s)
			if err != nil {
				return q, err
			}
			if run == nil {
				fmt.Fprintf(e.notes, "report %s, row %s: %s has no figures: %s\n", q.Name, row.Name, address, why)
				continue
			}
			if !slices.Contains(q.Runs, run) {
				outside = true
				q.Runs = append(slices.Clone(q.Runs), run)
			}
			asked.Runs = append(asked.Runs, run)
		}
		if len(asked.Runs) > 0 {
			q.Rows = append(q.Rows, asked)
		} else if row.Name == q.Baseline {
			q.Baseline = ""
		}
	}
	if outside {
		var err error
		if q.Runs, err = report.ReadAncestry(ctx, e.index, q.Runs); err != nil {
			return q, err
		}
	}
	return q, e.addEnvironments(ctx, &q)
}

// stageRun is the run of a stage in the build, else, where no build was asked for, in the last one that holds the stage.
func (e *evidence) stageRun(ctx context.Context, runs []*report.Run, address string, s lookup) (run *report.Run, why string, err error) {
	for _, r := range runs {
		if r.Address == address {
			return r, "", nil
		}
	}
	step, err := e.findStep(ctx, address, s)
	var unknown *failure
	switch {
	case errors.As(err, &unknown) && unknown.code == exitUsage:
		return nil, "it was not built yet", nil
	case err != nil:
		return nil, "", err
	case step.Record.IsZero():
		return nil, "it is " + string(step.State) + " (" + step.Reason + ")", nil
	}
	run, err = e.runOfRecord(ctx, step.Record)
	if run != nil {
		run.Address = address
	}
	return run, "its record is not in the lineage", err
}

// runOfRecord is nil where lineage does not know the record.
func (e *evidence) runOfRecord(ctx context.Context, d artifacts.Digest) (*report.Run, error) {
	found, err := report.ReadRuns(ctx, e.index, lineage.Filter{Records: []artifacts.Digest{d}})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// chosenRuns asks for rows of any runs.
func (e *evidence) chosenRuns(ctx context.Context, o *reporting) (report.Question, error) {
	q := report.Question{Name: defaultReport, Title: "Comparison of " + view.Count(len(o.runs), "row"), Kinds: kindsOf(e.catalog)}
	known := map[artifacts.Digest]*report.Run{}
	for _, text := range o.runs {
		name, list, named := strings.Cut(text, "=")
		if !named {
			name, list = text, text
		}
		row := report.Asked{Name: name}
		for _, one := range strings.Split(list, ",") {
			run, err := e.chosen(ctx, strings.TrimSpace(one), o.lookup)
			if err != nil {
				return q, err
			}
			if before := known[run.Record]; before != nil {
				run = before
			} else {
				known[run.Record] = run
				q.Runs = append(q.Runs, run)
			}
			row.Runs = append(row.Runs, run)
		}
		q.Rows = append(q.Rows, row)
	}
	var err error
	if q.Runs, err = report.ReadAncestry(ctx, e.index, q.Runs); err != nil {
		return q, err
	}
	return q, e.addEnvironments(ctx, &q)
}

// chosen finds one run: by its record or its key, or as a stage, of the build behind "@" or else of the last one.
func (e *evidence) chosen(ctx context.Context, text string, s lookup) (*report.Run, error) {
	if isDigest(text) {
		f, err := e.digestNamed(ctx, text)
		if err != nil {
			return nil, err
		}
		found, err := e.runOf(ctx, f)
		if err != nil || found == nil {
			return nil, cmp.Or(err, usage("--run %s: it is the digest of an artifact; name the record or the key of a run", text))
		}
		return e.runOfRecord(ctx, found.Record)
	}
	address := text
	if i := strings.LastIndex(text, "@"); i > 0 {
		address, s.build = text[:i], text[i+1:]
	}
	found, err := e.runsAt(ctx, canonical(address), s.build, s)
	if err != nil {
		return nil, err
	}
	if len(found) > 1 {
		var names []string
		for _, r := range found {
			names = append(names, r.Address)
		}
		return nil, usage("--run %s: it stands for %s; name one of: %s", text, view.Count(len(found), "run"), strings.Join(names, ", "))
	}
	run, err := e.runOfRecord(ctx, found[0].Record)
	if run != nil {
		run.Address, run.BuildID, run.State = found[0].Address, found[0].BuildID, found[0].State
	}
	return run, err
}

// variableBlock is how a variable is declared.
var variableBlock = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^[ \t]*variable[ \t]+"([^"]+)"`) })

// recipeOf reads the recipe as it is now, with the values that the build gave its variables; nil where no recipe is at
// hand.
func (e *evidence) recipeOf(b *artifacts.Build) (*recipe.Recipe, error) {
	if e.recipePath == "" {
		return nil, nil
	}
	text, err := os.ReadFile(e.recipePath)
	if err != nil { // the build is still there
		return nil, nil
	}
	declared := map[string]bool{} // a variable may have gone since
	for _, m := range variableBlock().FindAllSubmatch(text, -1) {
		declared[string(m[1])] = true
	}
	var vars []string
	values := variablesOf(b)
	for _, name := range sortedKeys(values) {
		if declared[name] {
			vars = append(vars, name+"="+values[name])
		}
	}
	return e.load(e.recipePath, &selection{vars: vars})
}

// recipeText is the recipe as it was built. Its lock is the one of now: that of a first build is written at its end.
func (e *evidence) recipeText(ctx context.Context, b *artifacts.Build, r *recipe.Recipe) (report.Recipe, error) {
	out := report.Recipe{Name: recipeName(b.RecipePath)}
	text, err := e.storedText(ctx, b.Recipe)
	if err != nil {
		return out, err
	}
	out.Text = text
	for _, path := range sortedKeys(b.Modules) {
		text, err := e.storedText(ctx, b.Modules[path])
		if err != nil {
			return out, err
		}
		out.Modules = append(out.Modules, report.Module{Path: path, Text: text})
	}
	if r == nil || r.Lock == nil {
		return out, nil
	}
	for _, name := range sortedKeys(r.Lock.Sources) {
		pinned := r.Lock.Sources[name]
		s := report.Source{Source: name, Resolved: pinned.Resolved, Files: len(pinned.Files)}
		for _, f := range pinned.Files {
			s.Bytes += f.Size
		}
		out.Lock = append(out.Lock, s)
	}
	return out, nil
}

// recipeName is a recipe's file without the folder, which is a matter of one machine.
func recipeName(path string) string { return filepath.Base(path) }

// storedText is "" where the text is not in the cache.
func (e *evidence) storedText(ctx context.Context, d artifacts.Digest) (string, error) {
	if d.IsZero() {
		return "", nil
	}
	b, err := e.cache.GetBytes(ctx, d)
	if errors.Is(err, artifacts.ErrMissing) {
		return "", nil
	}
	return string(b), err
}

// addEnvironments describes those that the question's runs were made in.
func (e *evidence) addEnvironments(ctx context.Context, q *report.Question) error {
	kinds := map[artifacts.Digest]map[string]bool{}
	var order []artifacts.Digest
	for _, r := range q.Runs {
		if r.Env.IsZero() {
			continue
		}
		if kinds[r.Env] == nil {
			kinds[r.Env] = map[string]bool{}
			order = append(order, r.Env)
		}
		kinds[r.Env][r.Kind] = true
	}
	for _, d := range order {
		env, err := report.ReadEnvironment(ctx, e.cache, d)
		if err != nil {
			return err
		}
		env.Kinds = slices.Sorted(maps.Keys(kinds[d]))
		q.Envs = append(q.Envs, env)
	}
	return nil
}

// kindsOf is what the catalogue says about figures.
func kindsOf(c *stages.Catalog) map[string]report.Kind {
	out := map[string]report.Kind{}
	for name, k := range c.Kinds {
		kind := report.Kind{Measured: measuresOne(k)}
		for _, m := range k.Metrics {
			kind.Metrics = append(kind.Metrics, report.Metric{Name: m.Name, Doc: m.Doc, Unit: m.Unit, Better: m.Better, Quality: m.Quality})
		}
		out[name] = kind
	}
	return out
}

// measuresOne says that a kind's figures are a machine's, and of one model: those that contest_entry takes out of a contest are, the
// contest's own are of all that took part.
func measuresOne(k *stages.Kind) bool {
	if slices.ContainsFunc(k.Inputs, func(in stages.Input) bool { return in.Map }) {
		return false
	}
	return k.Determinism == stages.Measured || slices.ContainsFunc(k.Outputs, func(out stages.Output) bool { return out.Type == "result/benchmark" })
}
