package report

import (
	"fmt"
	"math"
	"testing"
)

// TestNamesDoNotCoverEachOther: eight rows at nearly one place still can be read.
func TestNamesDoNotCoverEachOther(t *testing.T) {
	for name, at := range map[string]func(i int) (x, y float64){
		"crowd":  func(i int) (x, y float64) { return 300 + float64(i%3)*4, 150 + float64(i)*3 },
		"corner": func(i int) (x, y float64) { return plotWidth - plotRight - 2, plotTop + float64(i)*2 },
		"left":   func(i int) (x, y float64) { return plotLeft + 10 + float64(i), plotHeight - plotBottom - 20 },
	} {
		var dots []Dot
		for i := range 8 {
			x, y := at(i)
			dots = append(dots, Dot{X: x, Y: y, Low: y + 9, High: y - 9, Name: fmt.Sprintf("scheme-%d-int4", i)})
		}
		placeLabels(dots)
		var boxes []box
		for _, d := range dots {
			w := float64(len(d.Label.Text)) * letterWidth
			b := box{d.Label.X, d.Label.Y - labelHeight/2, d.Label.X + w, d.Label.Y + labelHeight/2}
			switch d.Label.Anchor {
			case "end":
				b.x1, b.x2 = b.x1-w, b.x2-w
			case "middle":
				b.x1, b.x2 = b.x1-w/2, b.x2-w/2
			}
			if b.x1 < 0 || b.x2 > plotWidth || b.y1 < 0 || b.y2 > plotHeight {
				t.Errorf("%s: %s is outside of the drawing: %+v", name, d.Name, b)
			}
			for i, o := range boxes {
				if b.overlap(o) > 0 {
					t.Errorf("%s: %s covers %s", name, d.Name, dots[i].Name)
				}
			}
			boxes = append(boxes, b)
		}
	}
}

func TestLayersDoNotOverlap(t *testing.T) {
	edges := [][2]int{{0, 1}, {0, 2}, {0, 3}, {1, 4}, {2, 5}, {3, 6}, {0, 6}, {4, 7}, {5, 7}, {6, 7}, {8, 7}, {0, 7}}
	nodes, paths, l := arrange(9, edges)
	for i, layer := range l.layers {
		for j := 1; j < len(layer); j++ {
			a, b := layer[j-1], layer[j]
			if gap := b.place - a.place - (a.size()+b.size())/2; gap < -1e-9 {
				t.Errorf("layer %d: %d and %d overlap by %v", i, a.node, b.node, -gap)
			}
		}
	}
	for _, e := range edges {
		if nodes[e[0]].layer >= nodes[e[1]].layer {
			t.Errorf("edge %v does not lead to the right", e)
		}
	}
	for i, p := range paths {
		if p[0].node != edges[i][0] || p[len(p)-1].node != edges[i][1] || len(p) != p[len(p)-1].layer-p[0].layer+1 {
			t.Errorf("edge %v takes another way", edges[i])
		}
	}
	if nodes[8].layer != nodes[7].layer-1 {
		t.Errorf("a late input stands at layer %d, far from its use at %d", nodes[8].layer, nodes[7].layer)
	}
}

func TestImpliedEdgesAreLeftOut(t *testing.T) {
	got := reduced(4, [][2]int{{0, 1}, {1, 2}, {0, 2}, {0, 3}, {2, 3}, {0, 1}})
	if fmt.Sprint(got) != "[[0 1] [1 2] [2 3]]" {
		t.Errorf("%v", got)
	}
}

func TestAxes(t *testing.T) {
	x := newAxis(3.6, 13.5, 0, 100)
	if x.log || x.at(3.6) <= 0 || x.at(13.5) >= 100 || x.at(3.6) >= x.at(13.5) {
		t.Errorf("%+v", x)
	}
	x = newAxis(22.68, 60260, 0, 100)
	if !x.log {
		t.Error("a wide range needs a logarithm")
	}
	for _, a := range []axis{newAxis(3.6, 13.5, 0, 100), newAxis(22.68, 60260, 0, 100), newAxis(5, 5, 0, 100), newAxis(0, 0, 0, 100), newAxis(1, 9, 0, 100)} {
		ticks := a.ticks(1, false)
		if len(ticks) < 2 || len(ticks) > 8 {
			t.Errorf("%+v has %d ticks: %+v", a, len(ticks), ticks)
		}
		for _, tick := range ticks {
			if math.IsNaN(tick.At) || tick.At < -0.1 || tick.At > 100.1 {
				t.Errorf("%+v: tick %+v", a, tick)
			}
		}
	}
}

func TestFiguresOfAColumnAreWrittenAlike(t *testing.T) {
	low, high := 21.9, 23.4
	for _, c := range []struct {
		unit   string
		values []float64
		want   []string
	}{
		{"byte", []float64{542113792, 173015040}, []string{"517", "165"}},
		{"byte", []float64{1900000000, 1500}, []string{"1.770", "1.4e−06"}},
		{"s", []float64{22.6, 199.1, 4000}, []string{"0:23", "3:19", "1:06:40"}},
		{"s", []float64{1.5, 22}, []string{"1.50", "22.00"}},
		{"1", []float64{0.0913, 0.212}, []string{"0.0913", "0.2120"}},
		{"nat", []float64{-0.012, 0.2}, []string{"−0.0120", "0.2000"}},
		{"token", []float64{16368, 4}, []string{"16368", "4"}},
		{"1", []float64{0, 0}, []string{"0", "0"}},
	} {
		var figures []*Figure
		for _, v := range c.values {
			figures = append(figures, &Figure{Value: v})
		}
		s := newScale(c.unit, false, figures)
		for i, v := range c.values {
			if got := s.text(v); got != c.want[i] {
				t.Errorf("%v %s: %q, want %q", v, c.unit, got, c.want[i])
			}
		}
	}
	s := newScale("1", true, []*Figure{{Value: 22.68, Low: &low, High: &high}, {Value: 60260.19}, {Value: 29}})
	if got := s.text(22.68); got != "22.68" {
		t.Errorf("with an interval: %s", got)
	}
}
