package plan_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestStepsArePreparedSideBySide: whoever prepares them, and however many there are, steps have the same keys and their mistakes the same
// order.
func TestStepsArePreparedSideBySide(t *testing.T) {
	for name, spoil := range map[string]func(w *world, text *strings.Builder){
		"nothing":  func(*world, *strings.Builder) {},
		"programs": func(_ *world, text *strings.Builder) {},
		"an environment": func(w *world, text *strings.Builder) {
			delete(w.envs, "tools")
			text.WriteString("stage \"fetch\" \"late\" {\n  source = \"x\"\n}\n")
		},
	} {
		w := newWorld(t)
		var text strings.Builder
		for i := range 300 {
			program := "tool"
			if name != "nothing" && i%37 == 36 {
				program = fmt.Sprint("none", i%5)
			}
			w.environ[fmt.Sprint("V", i)] = fmt.Sprint(i)
			if name != "nothing" && i%41 == 40 {
				w.environ[fmt.Sprint("V", i)] = "e\u0301" // not in normal form
			}
			fmt.Fprintf(&text, "stage \"exec\" \"s%d\" {\n  command = [%q, \"%d\"]\n  env = [\"V%d\"]\n", i, program, i, i)
			if i > 0 {
				fmt.Fprintf(&text, "  inputs = { a = exec.s%d.files }\n", i/2)
			}
			text.WriteString("}\n")
		}
		spoil(w, &text)
		w.recipe = text.String()
		told := func(procs int) string {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			p, err := w.make(t)
			if err != nil {
				return err.Error()
			}
			var all strings.Builder
			for _, s := range p.Steps {
				fmt.Fprintln(&all, s.Node.Stage.Address, s.State, s.Reason, s.Key, s.Program, len(s.Support))
			}
			return all.String()
		}
		want := told(1)
		if mistakes := strings.Contains(want, "not on PATH") && strings.Contains(want, "normal form"); mistakes != (name == "programs") {
			t.Errorf("%s: %s", name, want)
		}
		for range 5 {
			if got := told(8); got != want {
				t.Fatalf("%s: side by side\n%s\none by one\n%s", name, got, want)
			}
		}
	}
}
