package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Size of a scatter plot, and the room for its axes, in pixels.
const (
	plotWidth, plotHeight = 560.0, 360.0
	plotLeft, plotRight   = 60.0, 16.0
	plotTop, plotBottom   = 26.0, 50.0
)

// Scatter is a drawing of two columns with its Pareto front.
type Scatter struct {
	ID           string
	Title, Desc  string
	X, Y         *Column
	XTicks       []Tick
	YTicks       []Tick
	XHint, YHint string
	Dots         []Dot
	Line         string // points of the front's steps
}

// Dot is a row in a Scatter.
type Dot struct {
	X, Y      float64
	Low, High float64 // of the interval; both 0 without
	Front     bool
	Baseline  bool
	Name      string
	Title     string
	Record    string // anchor
	Label     Label
}

// Scatters draws the fronts.
func (r *Report) Scatters() []Scatter {
	var out []Scatter
	for i, f := range r.Fronts {
		out = append(out, r.scatter(fmt.Sprintf("plot-%d", i+1), f))
	}
	return out
}

func (r *Report) scatter(id string, f Front) Scatter {
	x, y := r.Column(f.X), r.Column(f.Y)
	s := Scatter{ID: id, X: x, Y: y, Title: y.Heading() + " against " + x.Heading(), XHint: "→ better", YHint: "↑ better"}
	if x.Better == "lower" {
		s.XHint = "← better"
	}
	if y.Better == "lower" {
		s.YHint = "↓ better"
	}
	s.Desc = "Pareto front, rows that no other row beats in both: " + strings.Join(f.Rows, ", ") + "."
	rows := r.both(x, y)
	ax, ay := axisOf(rows, x, plotLeft, plotWidth-plotRight), axisOf(rows, y, plotHeight-plotBottom, plotTop)
	s.XTicks, s.YTicks = ax.ticks(x.scale.divisor, x.scale.clock), ay.ticks(y.scale.divisor, y.scale.clock)
	for _, row := range rows {
		s.Dots = append(s.Dots, newDot(row, x, y, ax, ay, slices.Contains(f.Rows, row.Name), row.Name == r.Baseline))
	}
	s.Line = steps(s.Dots, x.Better == "lower")
	placeLabels(s.Dots)
	return s
}

func axisOf(rows []*Row, c *Column, a, b float64) axis {
	low, high := math.Inf(1), math.Inf(-1)
	for _, row := range rows {
		f := row.Figure(c.ID)
		low, high = min(low, f.Value), max(high, f.Value)
		if f.Low != nil && f.High != nil {
			low, high = min(low, *f.Low), max(high, *f.High)
		}
	}
	return newAxis(low, high, a, b)
}

func newDot(row *Row, x, y *Column, ax, ay axis, front, baseline bool) Dot {
	fx, fy := row.Figure(x.ID), row.Figure(y.ID)
	d := Dot{X: round(ax.at(fx.Value)), Y: round(ay.at(fy.Value)), Front: front, Baseline: baseline, Name: row.Name, Record: anchor(fy.Record())}
	d.Title = fmt.Sprintf("%s: %s %s, %s %s", row.Name, y.Label, strings.TrimSpace(y.Text(fy)+" "+y.UnitText()), x.Label,
		strings.TrimSpace(x.Text(fx)+" "+x.UnitText()))
	if fy.Low != nil && fy.High != nil {
		d.Low, d.High = round(ay.at(*fy.Low)), round(ay.at(*fy.High))
	}
	return d
}

func round(v float64) float64 { return math.Round(v*10) / 10 }

// steps is the edge of what is reached: at each point of the front, as good in y until the next one in x. Which way y is
// better does not matter: along a front the two trade against each other.
func steps(dots []Dot, lowerX bool) string {
	var front []Dot
	for _, d := range dots {
		if d.Front {
			front = append(front, d)
		}
	}
	slices.SortFunc(front, func(a, b Dot) int { return cmp.Compare(a.X, b.X) })
	var points []string
	add := func(x, y float64) { points = append(points, fmt.Sprintf("%g,%g", x, y)) }
	for i, d := range front {
		if i > 0 {
			// The corner lies on the side that both points are better than.
			before := front[i-1]
			if lowerX {
				add(d.X, before.Y)
			} else {
				add(before.X, d.Y)
			}
		}
		add(d.X, d.Y)
	}
	return strings.Join(points, " ")
}

// Label is where a dot's name stands.
type Label struct {
	X, Y   float64
	Anchor string // of the text: start, middle, end
	Text   string
	Lead   bool // too far to be taken for the dot's without a line
}

const (
	labelHeight  = 14.0
	letterWidth  = 6.7 // of 12 px sans, on average
	labelLetters = 26
	nearBy       = 13.0 // pixels within which no line is needed
	mistaken     = 40.0 // what it costs, in pixels of distance, to stand nearer to another dot
)

// box is a rectangle that is taken.
type box struct{ x1, y1, x2, y2 float64 }

// obstacle is something that a label had better not cover.
type obstacle struct {
	box
	weight float64 // of each square pixel
}

// A name that covers another one cannot be read; one that lies over the thin line of an interval can.
const (
	overNames, overDots = 100.0, 20.0
	overIntervals       = 0.3
)

func (b box) overlap(o box) float64 {
	w := min(b.x2, o.x2) - max(b.x1, o.x1)
	h := min(b.y2, o.y2) - max(b.y1, o.y1)
	if w <= 0 || h <= 0 {
		return 0
	}
	return w * h
}

// placeLabels finds for each name the nearest place where it covers nothing.
func placeLabels(dots []Dot) {
	var taken []obstacle
	for _, d := range dots {
		taken = append(taken, obstacle{box{d.X - 6, d.Y - 6, d.X + 6, d.Y + 6}, overDots})
		if d.Low != 0 || d.High != 0 {
			taken = append(taken, obstacle{box{d.X - 4, min(d.Low, d.High), d.X + 4, max(d.Low, d.High)}, overIntervals})
		}
	}
	order := make([]int, len(dots))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(dots[a].Y, dots[b].Y) })
	for _, i := range order {
		label, b := bestPlace(dots, i, taken)
		dots[i].Label = label
		taken = append(taken, obstacle{b, overNames})
	}
}

// sides and heights are where a label may stand beside its dot, in pixels.
var (
	sides   = []float64{10, -10, 24, -24, 52, -52, 90, -90, 130, -130}
	heights = []float64{0, -8, 8, -15, 15, -23, 23, -30, 30, -45, 45, -60, 60, -75, 75, -90, 90, -105, 105, -120, 120, -135, 135}
)

func bestPlace(dots []Dot, own int, taken []obstacle) (Label, box) {
	d := dots[own]
	text := clip(d.Name, labelLetters)
	w := float64(utf8.RuneCountInString(text)) * letterWidth
	var best Label
	var where box
	least := math.Inf(1)
	try := func(dx, dy float64) {
		l := Label{X: round(d.X + dx), Y: round(d.Y + dy), Text: text, Anchor: "start", Lead: math.Hypot(dx, dy) > nearBy}
		b := box{l.X, l.Y - labelHeight/2, l.X + w, l.Y + labelHeight/2}
		switch {
		case dx < 0:
			l.Anchor, b.x1, b.x2 = "end", l.X-w, l.X
		case dx == 0:
			l.Anchor, b.x1, b.x2 = "middle", l.X-w/2, l.X+w/2
		}
		if cost := covered(b, taken) + confusion(b, dots, own) + math.Hypot(dx, dy); cost < least {
			least, best, where = cost, l, b
		}
	}
	for _, dx := range sides {
		for _, dy := range heights {
			try(dx, dy)
		}
	}
	try(0, -14)
	try(0, 14)
	return best, where
}

// confusion is what it costs that a reader may take a label for another dot's.
func confusion(b box, dots []Dot, own int) float64 {
	cost := 0.0
	for i, d := range dots {
		if i != own && b.distance(d) < b.distance(dots[own])+2 {
			cost += mistaken
		}
	}
	return cost
}

func (b box) distance(d Dot) float64 {
	return math.Hypot(max(b.x1-d.X, d.X-b.x2, 0), max(b.y1-d.Y, d.Y-b.y2, 0))
}

// covered is what a place costs: the square pixels of others that a label covers there by their weight, and of what is
// outside of the plot more than anything.
func covered(b box, taken []obstacle) float64 {
	sum := 0.0
	for _, t := range taken {
		sum += t.weight * b.overlap(t.box)
	}
	inside := box{plotLeft + 2, plotTop - 8, plotWidth - 2, plotHeight - plotBottom - 2}
	area := (b.x2 - b.x1) * (b.y2 - b.y1)
	return sum + 100*(area-b.overlap(inside))
}

// clip shortens a name and says so.
func clip(s string, letters int) string {
	if utf8.RuneCountInString(s) <= letters {
		return s
	}
	return string([]rune(s)[:letters-1]) + "…"
}
