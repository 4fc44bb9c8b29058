package main

import (
	"errors"
	"path/filepath"
	"time"
)

// answerRows ask what a build would do, and why, before 10,000 stages of which one has a new source.
func answerRows(b *bench) []row {
	g := graph{10, b.scaled(1000)}
	aims := []aim{wallBelow(500 * time.Millisecond)}
	ask := func(name, doc string, arguments map[string][]string) row {
		return row{Name: name, Doc: doc, Size: g.String() + " stages", Rounds: 9, Disk: int64(g.size()) << 16, Aims: aims,
			Entries: func(b *bench, dir string) []entry {
				var all []entry
				for _, tool := range []string{"tinfra", "ninja", "make"} {
					program := b.tools.tool(tool)
					if arguments[tool] != nil && program != "" {
						all = append(all, question(b, g, makePeer[tool](program), dir, append([]string{program}, arguments[tool]...)))
					}
				}
				return all
			}}
	}
	return []row{
		ask("plan", "what would run, after one source has new text", map[string][]string{
			"tinfra": {"plan", "recipe.hcl"}, "ninja": {"-f", "build.ninja", "-n"}, "make": {"-n", "all"}}),
		ask("why", "why the stage that reads that source would run", map[string][]string{
			"tinfra": {"why", "exec.s0_0"}, "ninja": {"-f", "build.ninja", "-n", "-d", "explain"}}),
	}
}

// question is asked of a tool that has built the graph; tinfra's cache is seeded.
func question(b *bench, g graph, p peer, dir string, argv []string) entry {
	at := filepath.Join(dir, p.name())
	e := entry{Tool: p.name(), Dir: at, Argv: argv}
	if v, ok := p.(variabled); ok {
		e.Environ = v.environ(at)
	}
	e.Begin = func(e entry) error {
		if err := project(p, g, e.Dir); err != nil {
			return err
		}
		if t, ok := p.(tinfra); ok {
			s, err := newSeed(b.ctx, b.meter, t.program, e.Dir)
			if err == nil {
				_, err = s.graph(g)
			}
			if err != nil {
				return err
			}
		}
		return errors.Join(b.do(e, p.command(e.Dir)...), edit(b, p, e.Dir, 0))
	}
	return e
}
