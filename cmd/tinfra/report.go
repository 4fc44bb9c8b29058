package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/report"
)

// reporting is what `report` was asked for.
type reporting struct {
	lookup  lookup
	name    string
	runs    []string
	out     string
	formats []string
	json    bool // short for --format json
}

// reportForms are the forms of a report, in the order in which they are written.
var reportForms = []string{"html", "md", "json", "csv"}

// jobSummary is the form for the summary of a job of GitHub Actions. It is written where it is asked for by name only.
const jobSummary = "github"

func newReport(a *app) *cobra.Command {
	var o reporting
	cmd := &cobra.Command{
		Use:   "report [RECIPE]",
		Short: "Compare what was built: size, quality, speed, and the record behind each figure",
		Long: `report compares the rows that a recipe's report blocks ask for, with the figures of its last build. A recipe without
report blocks gets a row for each model that was measured. Without -o the main table is written here; with -o FOLDER
each report becomes a page that needs nothing but itself (.html), Markdown, JSON and CSV. --run compares any runs
instead: a record, or a stage, of some build if you like; --run NAME=RUN,RUN makes one row of several. --format github is
Markdown with folded sections: without -o it is added to the file that $GITHUB_STEP_SUMMARY names, where that is set.`,
		Example: `  tinfra report recipes/smollm2-int4.hcl
  tinfra report recipes/smollm2-int4.hcl -o report/
  tinfra report --format csv > figures.csv
  tinfra report --format github
  tinfra report --run before=gptq.int4,perplexity.int4@20261122 --run after=gptq.int4,perplexity.int4`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.lookup.recipe = args[0]
			}
			if err := o.check(); err != nil {
				return err
			}
			x, err := a.openArchive(cmd.Context(), o.lookup.recipe)
			if err != nil {
				return err
			}
			kinds, err := a.house(dirOf(x.recipePath)) // an archive is opened without them
			if err != nil {
				return err
			}
			x.catalog = kinds.catalog
			e := &evidence{x, a.stderr}
			reports, err := e.reports(cmd.Context(), &o)
			if err != nil {
				return err
			}
			return e.writeReports(reports, &o)
		},
		ValidArgsFunction: completeRecipes,
	}
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "this report block only (default: all)")
	f.StringVar(&o.lookup.build, "build", "", "the build to report on, by ID or the beginning of it (default: the last)")
	f.StringArrayVar(&o.runs, "run", nil, "compare this `RUN`: a record, STAGE, STAGE@BUILD, or NAME=RUN,RUN for a row of several (repeatable)")
	f.StringVarP(&o.out, "output", "o", "", "the folder to write to, or a file that ends in .html, .md, .json or .csv")
	f.StringSliceVar(&o.formats, "format", nil, "html, md, json, csv, github: one on its own is written here, several to the folder of -o")
	f.BoolVar(&o.json, "json", false, "write JSON, as --format json does")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(allForms(), cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that is not there
	return cmd
}

func allForms() []string { return append(slices.Clone(reportForms), jobSummary) }

// summary is whether the form for the summary of a job is asked for, then alone.
func (o *reporting) summary() bool { return slices.Equal(o.formats, []string{jobSummary}) }

func (o *reporting) check() error {
	if o.json {
		o.formats = append(o.formats, "json")
	}
	for _, f := range o.formats {
		if !slices.Contains(allForms(), f) {
			return usage("--format %s: there are %s", f, strings.Join(allForms(), ", "))
		}
	}
	if slices.Contains(o.formats, jobSummary) && (len(o.formats) > 1 || o.out != "" && o.fileForm() != "md") {
		return usage("--format %s is a form on its own: leave -o out, or name a file that ends in .md", jobSummary)
	}
	if o.out == "" && len(o.formats) > 1 {
		return usage("several formats need a folder: say which with -o FOLDER")
	}
	if form := o.fileForm(); form != "" && len(o.formats) > 0 && !o.summary() && !slices.Equal(o.formats, []string{form}) {
		return usage("-o %s is a file of one format; leave --format out, or name a folder", o.out)
	}
	if len(o.runs) > 0 && o.name != "" {
		return usage("--run compares runs, --name a report of the recipe: give one of the two")
	}
	return nil
}

// fileForm is the form that -o names by its ending; "" for a folder.
func (o *reporting) fileForm() string {
	form := strings.TrimPrefix(filepath.Ext(o.out), ".")
	if info, err := os.Stat(o.out); slices.Contains(reportForms, form) && (err != nil || !info.IsDir()) {
		return form
	}
	return ""
}

// writeReport writes one form of a report.
func writeReport(w io.Writer, r *report.Report, form string) error {
	switch form {
	case "html":
		return r.HTML(w)
	case "md":
		return r.Markdown(w)
	case "json":
		return r.JSON(w)
	default:
		return r.CSV(w)
	}
}

func (h *house) writeReports(reports []*report.Report, o *reporting) error {
	if o.summary() {
		return h.writeSummary(reports, o.out)
	}
	one := o.fileForm()
	if len(reports) > 1 && (one != "" || o.out == "" && len(o.formats) == 1) {
		var names []string
		for _, r := range reports {
			names = append(names, r.Name)
		}
		return usage("there are %d reports; choose one with --name: %s", len(reports), strings.Join(names, ", "))
	}
	switch {
	case one != "":
		return h.writeReportFile(reports[0], one, o.out)
	case o.out == "" && len(o.formats) == 1:
		return writeReport(h.app.stdout, reports[0], o.formats[0])
	case o.out == "":
		return h.showReports(reports)
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("making the folder of the report: %w", err)
	}
	for _, r := range reports {
		for _, form := range reportForms {
			if len(o.formats) > 0 && !slices.Contains(o.formats, form) {
				continue
			}
			if err := h.writeReportFile(r, form, filepath.Join(o.out, reportFile(r)+"."+form)); err != nil {
				return err
			}
		}
	}
	return nil
}

// reportFile names a report's files: of the recipe and of the report.
func reportFile(r *report.Report) string {
	recipe := strings.TrimSuffix(r.Recipe.Name, filepath.Ext(r.Recipe.Name))
	if recipe == "" {
		return r.Name
	}
	return recipe + "-" + r.Name
}

func (h *house) writeReportFile(r *report.Report, form, path string) error {
	var b bytes.Buffer
	if err := writeReport(&b, r, form); err != nil {
		return err
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	fmt.Fprintf(h.app.stdout, "%s  %s\n", path, view.Bytes(int64(b.Len())))
	return nil
}

// showReports writes the main tables, with the records behind them.
func (h *house) showReports(reports []*report.Report) error {
	w := h.app.stdout
	for i, r := range reports {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s\n", view.Printable(r.Title))
		if r.Build != nil {
			fmt.Fprintf(w, "build %s, %s\n", r.Build.ID, r.Build.SummaryWithSaved())
		}
		fmt.Fprintln(w)
		if err := r.Text(w, textWidth(w)); err != nil {
			return err
		}
		fmt.Fprintln(w)
		if err := r.TextRecords(w); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "\n`tinfra show RECORD` shows one. All figures, plots and lineage: add -o FOLDER.\n")
	return nil
}

// textWidth is how wide a table may be: as the terminal is, and without an end in a file.
func textWidth(w io.Writer) int {
	const unlimited = 10000
	t := view.TerminalOf(w)
	if !t.Is {
		return unlimited
	}
	width, _ := t.Size()
	return width
}

// reports answers what was asked, one after the other.
func (e *evidence) reports(ctx context.Context, o *reporting) ([]*report.Report, error) {
	questions, err := e.questions(ctx, o)
	if err != nil {
		return nil, err
	}
	var out []*report.Report
	for _, q := range questions {
		r, err := report.Make(q)
		if err != nil {
			return nil, usage("report %s: %w", q.Name, err)
		}
		out = append(out, r)
	}
	return out, nil
}
