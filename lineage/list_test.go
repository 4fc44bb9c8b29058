package lineage_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/lineage"
)

// TestBuildsThatShareSteps: whatever builds have in common, each is told with its own steps, and each run with the last build
// that used it, at its first place there.
func TestBuildsThatShareSteps(t *testing.T) {
	w, store := onDisk(t)
	one := w.publish(what{kind: "make", params: `{"n":1}`, outputs: map[string]string{"out": "1"}})
	two := w.publish(what{kind: "make", params: `{"n":2}`, outputs: map[string]string{"out": "2"}})
	a, b := step("make.a", one, artifacts.Hit), step("make.b", two, artifacts.Hit)
	same := step("make.c", one, artifacts.Hit) // the key of make.a
	stored := []*artifacts.Build{
		w.build("/r/x.hcl", step("make.a", one, artifacts.Ran), step("make.b", two, artifacts.Ran)),
		w.build("/r/x.hcl", a, b),
		w.build("/r/x.hcl", a),
		w.build("/r/y.hcl", b),
		w.build("/r/x.hcl", same, a, b),
		w.build("/r/x.hcl"),
		w.build("/r/x.hcl", a, b), // what was there once
	}
	x := w.index()
	w.now = w.now.AddDate(0, -1, 0) // a machine that shares the cache brings an old one
	stored = append(stored, w.build("/r/x.hcl", a, b), w.build("/r/x.hcl", a, same))
	w.must(x.Sync(t.Context(), w.cache))
	for _, want := range stored {
		got, err := x.Build(t.Context(), want.ID)
		if err != nil || len(got.Steps)+len(want.Steps) > 0 && !reflect.DeepEqual(got.Steps, want.Steps) {
			t.Errorf("%s: %+v, %v\nwant %+v", want.ID, got.Steps, err, want.Steps)
		}
		runs, err := x.Runs(t.Context(), lineage.Filter{Build: want.ID})
		w.must(err)
		var addresses, wanted []string
		for _, r := range runs {
			addresses = append(addresses, r.Address)
		}
		for _, s := range want.Steps {
			wanted = append(wanted, s.Address)
		}
		if !reflect.DeepEqual(addresses, wanted) {
			t.Errorf("%s: runs %q, want %q", want.ID, addresses, wanted)
		}
	}
	last := func(when string, address, path string, want *artifacts.Build) {
		t.Helper()
		id, err := x.LastBuild(t.Context(), address, path)
		if want == nil && !errors.Is(err, lineage.ErrUnknown) || want != nil && id != want.ID {
			t.Errorf("%s: the last build with %q of %q is %s, %v; want %+v", when, address, path, id, err, want)
		}
	}
	uses := func(when, want string) {
		t.Helper()
		runs, err := x.Runs(t.Context(), lineage.Filter{})
		w.must(err)
		var got []string
		for _, r := range runs {
			got = append(got, fmt.Sprint(r.Address, " ", r.BuildID, " ", r.State))
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("%s: runs are used by %q, want %q", when, got, want)
		}
		fresh := everything(t, x)
		w.must(x.Close())
		w.must(os.Remove(w.path))
		if x = w.index(); !reflect.DeepEqual(everything(t, x), fresh) {
			t.Errorf("%s: a fresh index says something else", when)
		}
	}
	seven, five := stored[6], stored[4]
	last("all", "make.a", "/r/x.hcl", seven)
	last("all", "make.c", "", five)
	last("all", "make.b", "/r/y.hcl", stored[3])
	last("all", "make.a", "/r/y.hcl", nil)
	uses("all", fmt.Sprintf("make.b %[1]s hit; make.a %[1]s hit", seven.ID))
	w.must(store.Delete(t.Context(), "builds/"+seven.Started.Format(time.DateOnly)+"/"+mustEncode(t, seven).Hex()))
	w.must(x.Sync(t.Context(), w.cache))
	last("without the last", "make.a", "", five)
	uses("without the last", fmt.Sprintf("make.b %[1]s hit; make.c %[1]s hit", five.ID))
}

// TestLastBuildIsNotOfTheFuture: a build of a clock that was set back since comes after all others.
func TestLastBuildIsNotOfTheFuture(t *testing.T) {
	w := newWorld(t)
	one := w.publish(what{kind: "make", outputs: map[string]string{"out": "1"}})
	past := w.build("/r/x.hcl", step("make.a", one, artifacts.Hit))
	w.now = time.Now().UTC().AddDate(1, 0, 0)
	future := w.build("/r/x.hcl", step("make.a", one, artifacts.Hit), step("make.b", one, artifacts.Hit))
	x := w.index()
	for address, want := range map[string]*artifacts.Build{"make.a": past, "make.b": future, "": past} {
		if id, err := x.LastBuild(t.Context(), address, "/r/x.hcl"); id != want.ID {
			t.Errorf("the last build with %q is %s, %v; want %s", address, id, err, want.ID)
		}
	}
}
