package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// answerDelay is what a bucket far away takes to answer.
const answerDelay = 20 * time.Millisecond

// warmRows ask a machine that has nothing what a build would do, beside a bucket that has all of it.
func warmRows(b *bench) []row {
	g := graph{10, b.scaled(100)}
	return []row{{Name: "warm plan", Doc: "the plan on a machine that has nothing, while the bucket has all; each answer of the bucket comes 20 ms later",
		Size: g.String() + " stages", Rounds: 9, Disk: int64(g.size()) << 17, Aims: []aim{wallBelow(1500 * time.Millisecond), requestsBelow(30)},
		Entries: func(b *bench, dir string) []entry { return []entry{warmPlan(b, g, dir)} }}}
}

func warmPlan(b *bench, g graph, dir string) entry {
	t, here := tinfra{b.tools.tool("tinfra")}, filepath.Join(dir, "tinfra")
	var far *delayed
	e := entry{Tool: "tinfra", Dir: here, Argv: []string{t.program, "plan", "recipe.hcl"}, Environ: remoteEnviron(tinfraEnviron(here)...)}
	before := int64(0)
	e.Begin = func(e entry) error {
		there := entry{Tool: "tinfra", Dir: filepath.Join(dir, "elsewhere")}
		there.Environ = remoteEnviron(tinfraEnviron(there.Dir)...)
		at, err := b.emptyBucket(dir, replaced)
		if err != nil {
			return err
		}
		at.tell(there)
		if err := errors.Join(project(t, g, there.Dir), b.do(there, t.command(there.Dir)...), project(t, g, here)); err != nil {
			return err
		}
		if far, err = delay(at.endpoint, answerDelay); err != nil {
			return err
		}
		bucketAt{far.server.URL, at.prefix}.tell(e)
		return nil
	}
	e.Before = func(entry, int) error {
		before = far.requests.Load()
		return replaced(tinfraCache(here))
	}
	e.Check = func(said string) error {
		if want := fmt.Sprintf(": %d cached, 0 to run", g.size()); !strings.Contains(said, want) {
			return fmt.Errorf("the plan does not say %q:\n%s", want, said[max(0, len(said)-500):])
		}
		return nil
	}
	e.Count = func(_ entry, s *sample) error {
		s.Requests = far.requests.Load() - before
		return nil
	}
	e.End = func(entry) {
		if far != nil {
			far.server.Close()
		}
		b.setAside(cargo{many: true}, dir)
	}
	return e
}
