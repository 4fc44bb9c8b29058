package main

import (
	"fmt"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
)

// garbageJSON is the plan of a collection, and what became of it.
type garbageJSON struct {
	Dir         string         `json:"dir"`
	Bytes       int64          `json:"bytes"` // before
	Results     []resultJSON   `json:"results"`
	Files       int            `json:"files"`      // that go
	FreedBytes  int64          `json:"freedBytes"` // by their going, checkpoints too
	Orphans     int            `json:"orphans"`    // files among them that are of no result in the list
	Checkpoints int            `json:"checkpoints"`
	Builds      int            `json:"builds"` // that are kept for their results
	Running     int            `json:"running"`
	OverBytes   int64          `json:"overBytes,omitempty"` // what must stay, beyond --max-size
	Problems    []problemJSON  `json:"problems,omitempty"`
	Removed     *collectedJSON `json:"removed,omitempty"` // with --apply
}

type resultJSON struct {
	Key     artifacts.Key  `json:"key"`
	Kind    string         `json:"kind"`
	Bytes   int64          `json:"bytes"`
	LastUse time.Time      `json:"lastUse"`
	Stays   artifacts.Need `json:"stays,omitempty"` // why; absent where it goes
}

type collectedJSON struct {
	Results     int   `json:"results"`
	Files       int   `json:"files"`
	Checkpoints int   `json:"checkpoints"`
	Bytes       int64 `json:"bytes"`
	Spared      int   `json:"spared"` // results that a build came to rely on since the plan
}

func (r *rubbish) freed() int64 {
	n := r.Freed
	for _, k := range r.pieces {
		n += k.Bytes
	}
	return n
}

func (r *rubbish) json(dir string) garbageJSON {
	out := garbageJSON{
		Dir: dir, Bytes: r.Total, Results: []resultJSON{}, Files: len(r.Blobs), FreedBytes: r.freed(), Orphans: r.Orphans,
		Checkpoints: len(r.pieces), Builds: r.Builds, Running: r.running, OverBytes: r.Over, Removed: r.done,
	}
	for _, one := range r.Results {
		out.Results = append(out.Results, resultJSON{one.Key, one.Kind, one.Bytes, one.LastUse.UTC(), one.Need})
	}
	for _, p := range r.Problems {
		out.Problems = append(out.Problems, problemJSON{Name: p.Name, Kind: string(p.Kind), Detail: p.Detail, Builds: p.Builds})
	}
	return out
}

// whyStays says it to people.
var whyStays = map[artifacts.Need]string{
	artifacts.NeedRunning: "a running build uses it",
	artifacts.NeedBuild:   "of the last builds",
	artifacts.NeedYoung:   "younger than --grace",
	artifacts.NeedShared:  "its files are another's too",
	artifacts.NeedBudget:  "there is room for it",
}

// heap is results of one kind with one fate.
type heap struct {
	count int
	bytes int64
}

// writeRubbish shows what goes, by kind, and what stays, by reason. Files that results share are counted with each.
func (h *house) writeRubbish(r *rubbish, c collecting, size int64) error {
	going, staying := map[string]heap{}, map[artifacts.Need]heap{}
	for _, one := range r.Results {
		if one.Need == "" {
			k := going[one.Kind]
			going[one.Kind] = heap{k.count + 1, k.bytes + one.Bytes}
		} else {
			k := staying[one.Need]
			staying[one.Need] = heap{k.count + 1, k.bytes + one.Bytes}
		}
	}
	var rows [][]string
	for _, kind := range sortedKeys(going) {
		rows = append(rows, []string{"goes", view.Count(going[kind].count, "result") + " of " + kind, view.Bytes(going[kind].bytes), "nothing needs it"})
	}
	if r.Orphans > 0 {
		rows = append(rows, []string{"goes", view.Count(r.Orphans, "file"), "", "of no result that a build could use"})
	}
	for _, k := range r.pieces {
		rows = append(rows, []string{"goes", "checkpoint " + k.Key.Short(), view.Bytes(k.Bytes), "no kept build tried to make it"})
	}
	for _, need := range []artifacts.Need{
		artifacts.NeedBuild, artifacts.NeedRunning, artifacts.NeedYoung, artifacts.NeedShared, artifacts.NeedBudget,
	} {
		if k := staying[need]; k.count > 0 {
			rows = append(rows, []string{"stays", view.Count(k.count, "result"), view.Bytes(k.bytes), whyStays[need]})
		}
	}
	if len(rows) > 0 {
		if err := view.Table(h.app.stdout, []string{"PLAN", "WHAT", "SIZE", "WHY"}, rows); err != nil {
			return err
		}
		fmt.Fprintln(h.app.stdout)
	}
	fmt.Fprintf(h.app.stdout, "%s of %s can go; kept for %s", view.Bytes(r.freed()), view.Bytes(r.Total), view.Count(r.Builds, "build"))
	if r.running > 0 {
		fmt.Fprintf(h.app.stdout, " and %d running", r.running)
	}
	fmt.Fprintln(h.app.stdout)
	if r.Over > 0 {
		fmt.Fprintf(h.app.stdout, "what must stay is %s larger than --max-size %s: a lower --keep (now %d) lets more go\n",
			view.Bytes(r.Over), view.Bytes(size), c.keep)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(h.app.stdout, "%s  %s: %s\n", p.Kind, p.Name, p.Detail)
	}
	return nil
}

func (h *house) writeCollected(r *rubbish) {
	switch {
	case r.done != nil:
		fmt.Fprintf(h.app.stdout, "removed %s, %s, %s\n",
			view.Count(r.done.Results, "result"), view.Count(r.done.Files, "file"), view.Bytes(r.done.Bytes))
		if r.done.Spared > 0 {
			fmt.Fprintf(h.app.stdout, "%s stayed after all: a build has begun to use it\n", view.Count(r.done.Spared, "result"))
		}
	case r.freed() > 0 || len(r.Blobs) > 0:
		fmt.Fprintln(h.app.stdout, "Nothing was removed yet: `tinfra cache gc --apply` does it.")
	}
}
