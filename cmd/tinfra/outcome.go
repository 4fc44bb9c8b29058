package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// tally listens for how long each stage took in this build.
type tally struct{ board *view.Board }

func newTally() *tally { return &tally{view.NewBoard(nil)} }

// Event takes the next event.
func (t *tally) Event(e event.Event) { t.board.Apply(e) }

// outcome is a build that has ended, to be told.
type outcome struct {
	site   *site
	build  *artifacts.Build
	tally  *tally
	took   time.Duration
	asJSON bool

	manifests map[artifacts.Digest]*artifacts.Manifest // that were read
	compared  *compared                                // nil: there is no report, or nobody was shown one
}

// summary is what a person is told of a build that went as far as to have steps.
type summary struct {
	rows       []view.Row
	values     []view.Value
	took       time.Duration
	recipeFlag func() string
	between    func() // writes what belongs before the last line; nil: nothing
}

// tailLines is how much of a failed stage's log is shown.
const tailLines = 12

// conclude tells what became of the build, and remembers it by its name, while the index is brought up to date. That is made of what is
// stored, so a failure there is only a warning.
func (o *outcome) conclude(ctx context.Context, err error, name artifacts.Digest, started time.Time) error {
	var index sync.WaitGroup
	var behind error
	if o.build != nil {
		index.Go(func() { behind = o.site.refreshIndex(ctx) })
	}
	if len(o.site.recipe.Reports) > 0 {
		index.Wait() // a comparison asks it
	}
	err = o.tell(ctx, err)
	if err == nil && !name.IsZero() {
		o.remember(context.WithoutCancel(ctx), name, started)
	}
	if index.Wait(); behind != nil {
		fmt.Fprintln(o.site.app.stderr, "tinfra: the build is stored, but the lineage index is not up to date:", behind)
	}
	return err
}

// tell writes the summary and the outputs, or what went wrong and what to do next. It returns the build's own error,
// for its exit code.
func (o *outcome) tell(ctx context.Context, err error) error {
	ctx = context.WithoutCancel(ctx)
	if o.build != nil && !o.asJSON {
		switch werr := o.writeSummary(ctx); {
		case werr != nil && err != nil:
			fmt.Fprintln(o.site.app.stderr, "tinfra: the summary cannot be shown:", werr)
		case werr != nil:
			return werr
		}
	}
	if err == nil {
		return nil
	}
	var failed *run.Error
	if !errors.As(err, &failed) {
		return o.site.mistakes(err)
	}
	if failed.Exit == exitInterrupted {
		return o.interrupted(failed)
	}
	return o.failed(ctx, failed)
}

func (o *outcome) interrupted(failed *run.Error) error {
	text := "interrupted: what was finished is kept, and the next build goes on from there"
	if errors.Is(failed, run.ErrUnshared) {
		text += "; not all of it is in the shared cache yet: the next build, or `tinfra cache push`, brings the rest"
	}
	return &failure{code: exitInterrupted, err: errors.New(text)}
}

func (o *outcome) writeSummary(ctx context.Context) error {
	told := summary{values: o.values(ctx), took: o.took, recipeFlag: o.site.recipeFlag, between: func() { o.writeComparison(ctx) }}
	for _, s := range o.build.Steps {
		row, err := o.row(ctx, s)
		if err != nil {
			return err
		}
		told.rows = append(told.rows, row)
	}
	return told.write(o.site.app.stdout)
}

func (s *summary) write(w io.Writer) error {
	counts := map[string]int{}
	saved := 0.0 // seconds that the runs of hits once took
	for i := range s.rows {
		counts[s.rows[i].State]++
		if s.rows[i].State == string(artifacts.Hit) {
			saved += s.rows[i].Seconds
		}
	}
	if err := view.Summary(w, s.rows); err != nil {
		return err
	}
	if len(s.values) > 0 {
		fmt.Fprintln(w)
		if err := view.Values(w, s.values); err != nil {
			return err
		}
		fmt.Fprintf(w, "\nTo have one as files:  tinfra get %s -o DIR%s\n", shellWord(s.values[0].Name), s.recipeFlag())
	}
	if s.between != nil {
		s.between()
	}
	parts := []string{}
	for _, state := range []string{string(artifacts.Hit), string(artifacts.Ran), string(artifacts.Failed), event.Interrupted, string(artifacts.Blocked)} {
		if counts[state] > 0 {
			parts = append(parts, strconv.Itoa(counts[state])+" "+state)
		}
	}
	last := fmt.Sprintf("%s in %s: %s", view.Count(len(s.rows), "stage"), view.Duration(s.took), strings.Join(parts, ", "))
	if saved >= 1 {
		last += "; what was reused had taken " + view.Seconds(saved)
	}
	fmt.Fprintf(w, "\n%s\n", last)
	return nil
}

// row is a stage of the table; a hit shows what its run once took.
func (o *outcome) row(ctx context.Context, s artifacts.Step) (view.Row, error) {
	row := view.Row{Stage: s.Address, State: view.Outcome(string(s.State), s.Reason)}
	if k := o.site.catalog.Kinds[s.Kind]; k != nil {
		row.Order = metricNames(k)
	}
	if heard := o.tally.board.Stage(s.Address); heard != nil {
		row.Seconds = heard.Seconds
	}
	if row.State == string(artifacts.Failed) || row.State == string(artifacts.Blocked) {
		row.Note = s.Reason
	}
	if s.Record.IsZero() {
		return row, nil
	}
	if st := o.site.known.stage(s.Key, s.Record); st != nil {
		row.Seconds, row.Metrics, row.PeakBytes, row.Size, row.Synthetic = st.seconds(), st.Metrics, st.PeakBytes, st.Size, st.Synthetic
		return row, nil
	}
	rec, err := o.record(ctx, s)
	if err != nil {
		return row, fmt.Errorf("%s: %w", s.Address, err)
	}
	row.Seconds, row.Metrics = rec.Ended.Sub(rec.Started).Seconds(), rec.Metrics
	if peak, err := strconv.ParseFloat(rec.Observed["peak_memory_bytes"], 64); err == nil {
		row.PeakBytes = int64(peak)
	}
	for _, d := range rec.Outputs {
		m, err := o.manifest(ctx, d)
		if err != nil {
			return row, fmt.Errorf("%s: %w", s.Address, err)
		}
		row.Size += m.Size()
		if _, ok := m.Labels["synthetic"]; ok {
			row.Synthetic = true
		}
	}
	return row, nil
}

// record is the one that the plan holds, or that it says was made.
func (o *outcome) record(ctx context.Context, s artifacts.Step) (*artifacts.Record, error) {
	if planned := o.site.plan.Step(s.Address); planned != nil && planned.Record != nil && planned.RecordDigest == s.Record {
		return planned.Record, nil
	}
	return o.site.cache.Record(ctx, s.Record)
}

func (o *outcome) manifest(ctx context.Context, d artifacts.Digest) (*artifacts.Manifest, error) {
	if m := o.manifests[d]; m != nil {
		return m, nil
	}
	m, err := o.site.cache.Manifest(ctx, d)
	if err == nil {
		o.manifests[d] = m
	}
	return m, err
}

// values are the recipe's outputs that were made.
func (o *outcome) values(ctx context.Context) []view.Value {
	var out []view.Value
	for _, output := range o.site.recipe.Outputs {
		if v, ok := o.value(ctx, output); ok {
			out = append(out, view.Value{Name: output.Name, Value: v, Doc: output.Doc})
		}
	}
	return out
}

func (o *outcome) value(ctx context.Context, output *recipe.Output) (string, bool) {
	if output.Ref == nil {
		if output.Value == cty.NilVal || !output.Value.IsWhollyKnown() {
			return "", false
		}
		b, err := ctyjson.Marshal(output.Value, output.Value.Type())
		return string(b), err == nil
	}
	step, ok := o.build.Step(output.Ref.Address)
	if !ok || step.Record.IsZero() || step.State == artifacts.Failed || step.State == artifacts.Blocked {
		return "", false
	}
	rec, err := o.site.cache.Record(ctx, step.Record)
	if err != nil {
		return "", false
	}
	d, ok := rec.Outputs[output.Ref.Port]
	return fmt.Sprintf("%s.%s  (sha256:%s…)", output.Ref.Address, output.Ref.Port, d.Short()), ok
}

// failed tells each failure with its log, its recipe line, and what can be done.
func (o *outcome) failed(ctx context.Context, failed *run.Error) error {
	diags := append(hcl.Diagnostics{}, failed.Diagnostics...)
	var rest []error
	for _, cause := range failed.Causes {
		var s *run.StageError
		if errors.As(cause, &s) {
			if stage := o.site.recipe.Stage(s.Address); stage != nil {
				at := stage.Range
				diags = append(diags, &hcl.Diagnostic{
					Severity: hcl.DiagError, Summary: "Stage failed", Subject: &at,
					Detail: s.Error() + ".",
				})
				continue
			}
		}
		rest = append(rest, cause)
	}
	w := o.site.app.stderr
	if o.asJSON {
		err := errors.Join(rest...)
		if len(diags) > 0 {
			if werr := view.DiagnosticsJSON(w, diags, o.site.recipe.Texts()); werr != nil {
				return werr
			}
		}
		return &failure{code: failed.Exit, err: err, silent: err == nil}
	}
	fmt.Fprintln(w)
	steps := o.failedSteps()
	for _, s := range steps {
		o.writeTail(ctx, w, s)
	}
	if len(diags) > 0 {
		if err := view.Diagnostics(w, diags, o.site.recipe.Texts()); err != nil {
			return err
		}
	}
	for _, err := range rest {
		fmt.Fprintln(w, "tinfra:", err)
	}
	o.writeAdvice(w, steps, failed)
	return &failure{code: failed.Exit, err: failed, silent: true}
}

func (o *outcome) failedSteps() []artifacts.Step {
	var out []artifacts.Step
	if o.build == nil {
		return nil
	}
	for _, s := range o.build.Steps {
		// A record says that the stage itself went well, and its require did not.
		if s.State == artifacts.Failed && s.Record.IsZero() {
			out = append(out, s)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Address < out[j].Address })
	return out
}

// writeTail writes the last lines of a failed stage's log.
func (o *outcome) writeTail(ctx context.Context, w io.Writer, s artifacts.Step) {
	if s.Log.IsZero() {
		return
	}
	b, err := o.site.cache.GetBytes(ctx, s.Log)
	if err != nil {
		fmt.Fprintf(w, "tinfra: the log of %s cannot be read: %v\n", s.Address, err)
		return
	}
	var lines []string
	for _, e := range logLines(b) {
		told := e.Type == event.Problem && strings.HasSuffix(e.Message, s.Reason) || e.Type == event.Finished
		if line, ok := logLine(e); ok && !told {
			lines = append(lines, strings.Split(strings.TrimRight(line, "\n"), "\n")...)
		}
	}
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(w, "%s said at last:\n", s.Address)
	for _, line := range lines[max(len(lines)-tailLines, 0):] {
		fmt.Fprintf(w, "  │ %s\n", view.Printable(line))
	}
	fmt.Fprintln(w)
}

// writeAdvice says what a person can do now.
func (o *outcome) writeAdvice(w io.Writer, steps []artifacts.Step, failed *run.Error) {
	for _, s := range steps {
		if !s.Log.IsZero() {
			fmt.Fprintf(w, "All that %s said:  tinfra log %s --build %s\n", s.Address, shellWord(s.Address), o.build.ID)
		}
	}
	if errors.Is(failed, artifacts.ErrDamaged) {
		fmt.Fprintln(w, "What was damaged is out of the cache: build again, and the stage that made it runs anew.")
	}
	if errors.Is(failed, run.ErrUnshared) {
		fmt.Fprintln(w, "The results are kept here: the next build, or `tinfra cache push`, brings the rest to the shared cache.")
	}
	if failed.Exit == exitRequire {
		fmt.Fprintln(w, "The result is kept: change the require and build again, and nothing runs twice.")
	}
}

// recipeFlag is what another verb must be told to look at this recipe: nothing where it is the folder's only one.
func (h *house) recipeFlag() string {
	if only, err := onlyRecipe("."); err == nil && filepath.Clean(only) == filepath.Clean(h.recipePath) {
		return ""
	}
	return " --recipe " + shellWord(h.recipePath)
}

// shellWord quotes what a shell would take apart.
func shellWord(s string) string {
	if strings.ContainsAny(s, `["'$ *?`) {
		return "'" + s + "'"
	}
	return s
}
