package lineage

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Artifact is one manifest: an output of a run, or local files that entered one.
type Artifact struct {
	Digest artifacts.Digest  `json:"digest"`
	Type   string            `json:"type"` // "" where the manifest could not be read and no run says
	Bytes  int64             `json:"bytes"`
	Files  int               `json:"files"`
	Labels map[string]string `json:"labels,omitempty"`
	Read   bool              `json:"-"` // false: its manifest could not be read, so bytes, files and labels are not known
}

// Graph is a part of the lineage: artifacts, and the runs between them.
type Graph struct {
	Artifacts map[artifacts.Digest]Artifact // those on the way, and the other outputs of Runs
	Runs      []Run                         // the last ended first
	makers    map[artifacts.Digest][]int
	users     map[artifacts.Digest][]int
}

// Makers are the runs of the graph that have d as an output, the last first: several where a stage was run again and made
// the same bytes. None made local files.
func (g *Graph) Makers(d artifacts.Digest) []*Run { return g.at(g.makers[d]) }

// Users are the runs of the graph that have d as an input, the last first.
func (g *Graph) Users(d artifacts.Digest) []*Run { return g.at(g.users[d]) }

func (g *Graph) at(places []int) []*Run {
	out := make([]*Run, len(places))
	for i, p := range places {
		out[i] = &g.Runs[p]
	}
	return out
}

// The direction of each join is fixed: without statistics SQLite might begin at the wrong end of a large table.
const (
	upwards = `WITH RECURSIVE found(artifact) AS (
		SELECT id FROM _artifact WHERE digest IN (SELECT value FROM json_each(?))
		UNION
		SELECT i.artifact FROM found CROSS JOIN _output o ON o.artifact = found.artifact
			CROSS JOIN _run r ON r.id = o.run CROSS JOIN _input i ON i.action = r.action)`
	downwards = `WITH RECURSIVE found(artifact) AS (
		SELECT id FROM _artifact WHERE digest IN (SELECT value FROM json_each(?))
		UNION
		SELECT o.artifact FROM found CROSS JOIN _input i ON i.artifact = found.artifact
			CROSS JOIN _run r ON r.action = i.action CROSS JOIN _output o ON o.run = r.id)`
	makersOf = `SELECT o.run FROM found CROSS JOIN _output o ON o.artifact = found.artifact`
	usersOf  = `SELECT r.id FROM found CROSS JOIN _input i ON i.artifact = found.artifact CROSS JOIN _run r ON r.action = i.action`
)

// Ancestors is what artifacts were made of, down to downloads and local files, themselves included. What the index does not
// know is left out.
func (x *Index) Ancestors(ctx context.Context, of ...artifacts.Digest) (*Graph, error) {
	return x.graph(ctx, upwards, makersOf, of)
}

// Descendants is what was made of artifacts, themselves included.
func (x *Index) Descendants(ctx context.Context, of ...artifacts.Digest) (*Graph, error) {
	return x.graph(ctx, downwards, usersOf, of)
}

func (x *Index) graph(ctx context.Context, closure, runs string, of []artifacts.Digest) (*Graph, error) {
	g := &Graph{Artifacts: map[artifacts.Digest]Artifact{}, makers: map[artifacts.Digest][]int{}, users: map[artifacts.Digest][]int{}}
	roots := digestList(of)
	err := x.ask(ctx, func(row scanner) error {
		a, err := scanArtifact(row)
		g.Artifacts[a.Digest] = a
		return err
	}, closure+` SELECT digest, type, bytes, files, labels FROM _artifact WHERE id IN (SELECT artifact FROM found)`, roots)
	if err != nil {
		return nil, err
	}
	err = x.ask(ctx, func(row scanner) error {
		r, err := scanRun(row)
		g.Runs = append(g.Runs, r)
		return err
	}, closure+runColumns+noSums+fmt.Sprintf(lastUse, "")+` WHERE r.id IN (`+runs+`) ORDER BY r.ended DESC, r.id DESC`, roots)
	if err != nil {
		return nil, err
	}
	return g, x.connect(ctx, g)
}

// connect describes the outputs of the runs that are not on the way themselves, and remembers who made and used what.
func (x *Index) connect(ctx context.Context, g *Graph) error {
	var beside []artifacts.Digest
	for i := range g.Runs {
		for _, d := range g.Runs[i].Outputs {
			if _, ok := g.Artifacts[d]; !ok {
				beside = append(beside, d)
			}
		}
	}
	if len(beside) > 0 {
		more, err := x.Artifacts(ctx, beside)
		if err != nil {
			return err
		}
		maps.Copy(g.Artifacts, more)
	}
	for i := range g.Runs {
		r := &g.Runs[i]
		for _, d := range r.Outputs {
			r.OutputBytes += g.Artifacts[d].Bytes
			r.label(g.Artifacts[d].Labels)
		}
		for _, d := range distinct(r.Outputs) {
			g.makers[d] = append(g.makers[d], i)
		}
		for _, d := range distinct(r.Inputs) {
			g.users[d] = append(g.users[d], i)
		}
	}
	return nil
}

// distinct: one artifact may stand at several ports.
func distinct(ports map[string]artifacts.Digest) []artifacts.Digest {
	var out []artifacts.Digest
	for _, d := range ports {
		if !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

func scanArtifact(row scanner) (Artifact, error) {
	var a Artifact
	var digest string
	var size, files sql.NullInt64
	var labels []byte
	if err := row.Scan(&digest, &a.Type, &size, &files, &labels); err != nil {
		return a, err
	}
	a.Bytes, a.Files, a.Read = size.Int64, int(files.Int64), size.Valid
	d, err := digestOf(sql.NullString{String: digest, Valid: true})
	if err != nil {
		return a, err
	}
	a.Digest = d
	if err := json.Unmarshal(labels, &a.Labels); err != nil {
		return a, fmt.Errorf("%w: artifact %s: %w", errUnusable, d.Short(), err)
	}
	return a, nil
}

// Artifacts describes those of the artifacts that the index knows.
func (x *Index) Artifacts(ctx context.Context, of []artifacts.Digest) (map[artifacts.Digest]Artifact, error) {
	out := make(map[artifacts.Digest]Artifact, len(of))
	err := x.ask(ctx, func(row scanner) error {
		a, err := scanArtifact(row)
		out[a.Digest] = a
		return err
	}, `SELECT digest, type, bytes, files, labels FROM _artifact WHERE digest IN (SELECT value FROM json_each(?))`, digestList(of))
	return out, err
}
