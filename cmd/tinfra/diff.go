package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/lineage"
)

func newDiff(a *app) *cobra.Command {
	var s lookup
	t := &tensorDiff{}
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Compare two runs field by field, or two models tensor by tensor",
		Long: `diff compares what decided two runs (params, inputs, worker, environment, facts) and what came out (metrics, time, memory,
size, outputs). Where an input differs, it goes on to the stages that made it. A run is the beginning of a record's
digest or of a key, a stage (its run in the last build), or STAGE@BUILD.

Of two models it says which tensors differ and by how much. A model is STAGE.PORT, STAGE.PORT@BUILD, an output of the recipe,
the beginning of an artifact's or a file's digest, or a file or folder of yours with *.safetensors or *.gguf: a path with a / in it,
or a name ending so. Tensors are found by name, in whichever file they are. For one that differs: how many of its numbers,
the largest and the mean absolute difference, and the norm of the differences by that of A's numbers. What is not finite in both is
counted, and left out of these. Of quantized blocks only the bytes are compared. Files that only the shared cache has are
brought from there; so is the history of the last build there, where this machine has not built the recipe.`,
		Example: `  tinfra diff perplexity.base perplexity.int4
  tinfra diff gptq.int4@20260301T235000Z gptq.int4
  tinfra diff 70b01cf7 803b0244 --json
  tinfra diff prune.half.model ./finetuned`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.diff(cmd.Context(), [2]string{args[0], args[1]}, s, t)
		},
		ValidArgsFunction: a.completeFlag,
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&t.asJSON, "json", false, "write JSON")
	cmd.Flags().IntVar(&t.limit, "limit", shownTensors, "show at most this many tensors of each table; 0 is all, as in JSON")
	alone(cmd, &t.offline)
	return cmd
}

// diff compares runs, or models where one of the two can be nothing else.
func (a *app) diff(ctx context.Context, names [2]string, s lookup, t *tensorDiff) error {
	if t.limit < 0 {
		return usage("--limit %d: give a number of tensors from 0 on", t.limit)
	}
	for _, name := range names {
		if namesModel(name) {
			return a.diffTensors(ctx, names, s, t)
		}
	}
	r, err := a.openArchive(ctx, s.recipe)
	if err != nil {
		return err
	}
	r.asks = !t.offline
	for _, name := range names {
		model, err := r.storesModel(ctx, name)
		if err != nil {
			return err
		}
		if model {
			return a.diffTensors(ctx, names, s, t)
		}
	}
	var runs [2]*lineage.Run
	for i, name := range names {
		if runs[i], err = r.runAnywhere(ctx, name, s); err != nil {
			return err
		}
	}
	return r.diff(ctx, runs[0], runs[1], t.asJSON)
}

// runAnywhere is runNamed, also of the last build in the shared cache where this machine knows of none.
func (r *archive) runAnywhere(ctx context.Context, name string, s lookup) (*lineage.Run, error) {
	run, unknown := r.runNamed(ctx, name, s)
	if unknown == nil || codeOf(unknown) != exitUsage {
		return run, unknown
	}
	switch brought, err := r.bringBuild(ctx); {
	case err != nil:
		return nil, err
	case !brought:
		return nil, unknown
	}
	return r.runNamed(ctx, name, s)
}

// runNamed is the one run that a person means. What is a model was told apart before.
func (r *archive) runNamed(ctx context.Context, name string, s lookup) (*lineage.Run, error) {
	if !looksLikeAddress(name) {
		f, err := r.digestNamed(ctx, name)
		if err != nil {
			return nil, err
		}
		return r.runOf(ctx, f)
	}
	build := s.build
	if at := strings.LastIndexByte(name, '@'); at >= 0 {
		name, build = name[:at], name[at+1:]
	}
	address := canonical(name)
	runs, err := r.runsAt(ctx, address, build, s)
	if err != nil {
		return nil, err
	}
	if len(runs) > 1 {
		var names []string
		for _, run := range runs {
			names = append(names, run.Address)
		}
		return nil, usage("%s stands for several stages; name one of: %s", name, listed(names))
	}
	return &runs[0], nil
}

// comparison is two runs beside each other.
type comparison struct {
	A       *lineage.Run    `json:"a"`
	B       *lineage.Run    `json:"b"`
	Changes []difference    `json:"changes"`
	Metrics []metricDiff    `json:"metrics"`
	Outputs map[string]bool `json:"sameOutputs"` // port → whether the bytes are the same, of ports that both have
}

type metricDiff struct {
	Name       string   `json:"name"`
	A          *float64 `json:"a,omitempty"`
	B          *float64 `json:"b,omitempty"`
	Difference *float64 `json:"difference,omitempty"`
}

func (r *archive) diff(ctx context.Context, a, b *lineage.Run, asJSON bool) error {
	changes, err := r.differences(ctx, a, b)
	if err != nil {
		return err
	}
	c := &comparison{A: a, B: b, Changes: changes, Metrics: metricDiffs(a.Metrics, b.Metrics), Outputs: map[string]bool{}}
	for port, d := range a.Outputs {
		if other, ok := b.Outputs[port]; ok {
			c.Outputs[port] = d == other
		}
	}
	if asJSON {
		if c.Changes == nil {
			c.Changes = []difference{}
		}
		return writeJSON(r.app.stdout, c)
	}
	return c.write(r.app.stdout)
}

func metricDiffs(a, b map[string]float64) []metricDiff {
	names := map[string]bool{}
	for name := range a {
		names[name] = true
	}
	for name := range b {
		names[name] = true
	}
	out := []metricDiff{}
	for _, name := range sortedKeys(names) {
		m := metricDiff{Name: name}
		was, had := a[name]
		now, has := b[name]
		if had {
			m.A = &was
		}
		if has {
			m.B = &now
		}
		if had && has {
			d := now - was
			m.Difference = &d
		}
		out = append(out, m)
	}
	return out
}

func (c *comparison) write(w io.Writer) error {
	var rows [][]string
	for _, r := range []struct {
		name string
		*lineage.Run
	}{{"A", c.A}, {"B", c.B}} {
		rows = append(rows, []string{r.name, r.Address, r.Kind, r.Record.Short(), r.Key.Short(), r.BuildID, r.Ended.Local().Format(time.DateTime)})
	}
	if err := view.Table(w, []string{"", "STAGE", "KIND", "RECORD", "KEY", "BUILD", "ENDED"}, rows); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := c.writeChanges(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return view.Table(w, []string{"RESULT", "A", "B", "DIFFERENCE"}, c.results())
}

func (c *comparison) writeChanges(w io.Writer) error {
	if c.A.Record == c.B.Record {
		_, err := fmt.Fprintln(w, "A and B are the same run.")
		return err
	}
	var rows [][]string
	for _, d := range c.Changes {
		if d.Note != "" {
			rows = append(rows, []string{d.Stage, "", "", d.Note})
		}
		for _, change := range d.Changes {
			rows = append(rows, []string{d.Stage, change.Field, absent(change.Old), absent(change.New)})
		}
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "Nothing that decides a result differs, here or above.")
		return err
	}
	return view.Table(w, []string{"STAGE", "FIELD", "A", "B"}, rows)
}

// absent marks a field that one of the two does not have.
func absent(value string) string {
	if value == "" {
		return "-"
	}
	return value
}

func (c *comparison) results() [][]string {
	var rows [][]string
	for _, m := range c.Metrics {
		row := []string{"metrics." + m.Name, "-", "-", ""}
		if m.A != nil {
			row[1] = view.Number(*m.A)
		}
		if m.B != nil {
			row[2] = view.Number(*m.B)
		}
		if m.Difference != nil {
			row[3] = moved(*m.A, *m.B)
		}
		rows = append(rows, row)
	}
	rows = append(rows, []string{"time", view.Seconds(c.A.Seconds()), view.Seconds(c.B.Seconds()), moved(c.A.Seconds(), c.B.Seconds())})
	if c.A.PeakMemory > 0 && c.B.PeakMemory > 0 {
		rows = append(rows, []string{"peak memory", view.Bytes(c.A.PeakMemory), view.Bytes(c.B.PeakMemory), moved(float64(c.A.PeakMemory), float64(c.B.PeakMemory))})
	}
	rows = append(rows, []string{"size", view.Bytes(c.A.OutputBytes), view.Bytes(c.B.OutputBytes), moved(float64(c.A.OutputBytes), float64(c.B.OutputBytes))})
	for _, port := range sortedKeys(c.Outputs) {
		same := "other bytes"
		if c.Outputs[port] {
			same = "same bytes"
		}
		rows = append(rows, []string{"output " + port, shortOf(c.A.Outputs[port]), shortOf(c.B.Outputs[port]), same})
	}
	return rows
}

func shortOf(d artifacts.Digest) string { return d.Short() }

// moved words the difference of two figures: "+17.5 (+78 %)".
func moved(was, now float64) string {
	if was == now {
		return "same"
	}
	sign := "+"
	if now < was {
		sign = "-"
	}
	text := sign + view.Number(max(now-was, was-now))
	if was != 0 {
		percent := (now - was) / was * 100
		if was < 0 {
			percent = -percent
		}
		text += " (" + sign + strconv.FormatFloat(max(percent, -percent), 'g', 3, 64) + " %)"
	}
	return text
}
