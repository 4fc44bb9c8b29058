package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/lineage"
)

// tree draws a part of the lineage. What several stages share is drawn once.
type tree struct {
	w       io.Writer
	graph   *lineage.Graph
	depth   int                         // 0: no limit
	seen    map[artifacts.Digest]bool   // records upwards, artifacts downwards
	address map[artifacts.Digest]string // of a run whose address in the build asked for is not its last one
	err     error
}

func (t *tree) line(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format+"\n", args...)
	}
}

func (t *tree) write(roots []root, down bool) error {
	for _, r := range roots {
		if r.run != nil {
			t.address[r.run.Record] = r.run.Address
		}
	}
	for i, r := range roots {
		if i > 0 {
			t.line("")
		}
		if down {
			t.line("%s", t.artifact(r.Artifact, t.made(r)))
			t.users(r.Artifact, "", 1)
			continue
		}
		maker, others := t.maker(r)
		t.line("%s", t.artifact(r.Artifact, t.made(r)))
		t.inputs(maker, others, "", 1)
	}
	return t.err
}

// made is how a root is called: the stage and the port that made it.
func (t *tree) made(r root) string {
	run, port := r.run, r.Port
	if run == nil {
		if makers := t.graph.Makers(r.Artifact); len(makers) > 0 {
			run, port = makers[0], portOf(makers[0].Outputs, r.Artifact)
		}
	}
	if run == nil {
		return ""
	}
	return t.stage(run) + "." + port
}

func (t *tree) maker(r root) (run *lineage.Run, others int) {
	makers := t.graph.Makers(r.Artifact)
	if r.run != nil {
		return r.run, len(makers) - 1
	}
	if len(makers) == 0 {
		return nil, 0
	}
	return makers[0], len(makers) - 1
}

// stage is a run's address; of one that no build is known to have used, its kind.
func (t *tree) stage(r *lineage.Run) string {
	return cmp.Or(t.address[r.Record], r.Address, r.Kind)
}

func (t *tree) artifact(d artifacts.Digest, name string) string {
	a := t.graph.Artifacts[d]
	parts := []string{name, a.Type, "", d.Short()}
	if a.Read {
		parts[2] = view.Bytes(a.Bytes)
	}
	if why, ok := a.Labels["synthetic"]; ok {
		parts = append(parts, "synthetic: "+view.Printable(why))
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "  ")
}

// inputs writes below an artifact what its run read, and where that came from.
func (t *tree) inputs(run *lineage.Run, others int, indent string, level int) {
	switch {
	case run == nil:
		t.line("%s   local files, or a run that is not in this cache", indent)
		return
	case t.seen[run.Record]:
		t.line("%s   record %s, as above", indent, run.Record.Short())
		return
	}
	t.seen[run.Record] = true
	for _, text := range t.about(run, others) {
		t.line("%s   %s", indent, text)
	}
	if t.depth > 0 && level > t.depth {
		return
	}
	ports := sortedKeys(run.Inputs)
	for i, port := range ports {
		branch, below := branches(i == len(ports)-1)
		d := run.Inputs[port]
		maker, more := t.maker(root{Artifact: d})
		name := port + ":"
		if maker != nil {
			name += " " + t.stage(maker) + "." + portOf(maker.Outputs, d)
		}
		t.line("%s%s%s", indent, branch, t.artifact(d, name))
		t.inputs(maker, more, indent+below, level+1)
	}
}

func branches(last bool) (branch, below string) {
	if last {
		return "└─ ", "   "
	}
	return "├─ ", "│  "
}

// portOf is the port at which a manifest stands.
func portOf(ports map[string]artifacts.Digest, d artifacts.Digest) string {
	for _, name := range sortedKeys(ports) {
		if ports[name] == d {
			return name
		}
	}
	return ""
}

// about is what is said of a run: when, how it went, and for a download from where and which files.
func (t *tree) about(r *lineage.Run, others int) []string {
	first := fmt.Sprintf("record %s, %s, %s", r.Record.Short(), r.Ended.Local().Format("2006-01-02 15:04"), view.Seconds(r.Seconds()))
	if others > 0 {
		first += fmt.Sprintf("; %s made the same bytes", view.Count(others, "other run"))
	}
	out := []string{first}
	if m := view.Metrics(r.Metrics); len(m) > 0 {
		out = append(out, strings.Join(m, "  "))
	}
	if source := r.Observed["source"]; source != "" {
		out = append(out, "from "+view.Printable(source))
	}
	for _, name := range []string{"commit", "revision"} {
		if v := r.Observed[name]; v != "" {
			out = append(out, name+" "+view.Printable(v))
		}
	}
	return append(out, pinLines(r)...)
}

// pinLines are the files that a download is pinned to.
func pinLines(r *lineage.Run) []string {
	const most = 6
	pins, ok := r.Params["pins"].([]any)
	if !ok {
		return nil
	}
	var out []string
	for _, one := range pins[:min(len(pins), most)] {
		pin, _ := one.(map[string]any)
		path, _ := pin["path"].(string)
		sha, _ := pin["sha256"].(string)
		size, _ := pin["size"].(float64)
		out = append(out, fmt.Sprintf("pinned %s  %s  sha256 %s", view.Printable(path), view.Bytes(int64(size)), view.Printable(sha)))
	}
	if more := len(pins) - most; more > 0 {
		out = append(out, "pinned "+strconv.Itoa(more)+" more; --json has all")
	}
	return out
}

// users writes below an artifact the runs that read it and what they made.
func (t *tree) users(d artifacts.Digest, indent string, level int) {
	users := t.graph.Users(d)
	if len(users) == 0 || t.depth > 0 && level > t.depth {
		return
	}
	if t.seen[d] {
		t.line("%s   (as above)", indent)
		return
	}
	t.seen[d] = true
	slices.SortStableFunc(users, func(a, b *lineage.Run) int { return a.Ended.Compare(b.Ended) })
	for i, run := range users {
		last := i == len(users)-1
		ports := sortedKeys(run.Outputs)
		for j, port := range ports {
			branch, below := branches(last && j == len(ports)-1)
			out := run.Outputs[port]
			text := t.artifact(out, t.stage(run)+"."+port)
			if m := view.Metrics(run.Metrics); len(m) > 0 && j == 0 {
				text += "  " + strings.Join(m, "  ")
			}
			t.line("%s%s%s", indent, branch, text)
			t.users(out, indent+below, level+1)
		}
	}
}
