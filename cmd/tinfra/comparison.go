package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/lineage"
	"github.com/Ruihan11/tiny-infra/report"
)

// comparisonWidth is how wide the table at the end of a build may be: it stands in logs and in mails too.
const comparisonWidth = 100

// writeComparison ends a build with the first table of the recipe's first report. The build is not the worse for a table
// that cannot be made: that is told, and no error.
func (o *outcome) writeComparison(ctx context.Context) {
	if len(o.site.recipe.Reports) == 0 {
		return
	}
	tooLong := errors.New("it takes too long")
	ctx, cancel := context.WithTimeoutCause(ctx, refreshTime, tooLong) // a person waits; `tinfra report` goes on from there
	defer cancel()
	r, err := o.site.comparison(ctx, o)
	w := o.site.app.stdout
	width := widthOfComparison(w)
	var text bytes.Buffer
	if err == nil && r != nil {
		fmt.Fprintf(&text, "\n%s\n\n", view.Printable(r.Title))
		err = r.Text(&text, width)
		fmt.Fprintf(&text, "\nAll figures and their records:  tinfra report%s -o DIR\n", o.site.recipeArgument())
		_, werr := w.Write(text.Bytes())
		err = errors.Join(err, werr)
	}
	if err == nil {
		o.compared = &compared{text.String(), width}
	}
	if err != nil && !errors.Is(err, tooLong) {
		fmt.Fprintln(o.site.app.stderr, "tinfra: the comparison cannot be shown:", err)
	}
}

// compared is the table as it was written.
type compared struct {
	Text  string
	Width int
}

func widthOfComparison(w io.Writer) int { return min(textWidth(w), comparisonWidth) }

// comparison is the first report of the recipe, of this build alone; nil where the build has no figures for it.
func (t *site) comparison(ctx context.Context, o *outcome) (*report.Report, error) {
	x, err := t.freshIndex(ctx)
	if err != nil {
		return nil, err
	}
	e := &evidence{&archive{t.house, x}, io.Discard} // the table of stages says what has failed
	q := report.Question{Build: o.build, Kinds: kindsOf(t.catalog), Recipe: report.Recipe{Name: recipeName(t.recipe.Path)}}
	if q.Runs, err = report.ReadRuns(ctx, e.index, lineage.Filter{Build: o.build.ID}); err != nil {
		return nil, err
	}
	q, err = e.ofBlock(ctx, q, t.recipe.Reports[0], lookup{build: o.build.ID})
	if err != nil || len(q.Rows) == 0 {
		return nil, err
	}
	return report.Make(q)
}

// recipeArgument is how `report` is told of this recipe: nothing where it is the folder's only one.
func (t *site) recipeArgument() string {
	if t.recipeFlag() == "" {
		return ""
	}
	return " " + shellWord(t.recipe.Path)
}
