package plan_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func execWorld(t *testing.T, command string) *world {
	w := newWorld(t)
	w.target = block{"exec", "e", []attr{{"command", command}}}
	return w
}

func TestProgramFolderIsNotInTheKey(t *testing.T) {
	w := execWorld(t, `["tool"]`)
	s := w.plan(t).Step("exec.e")
	first := w.environ["PATH"]
	w.program(t, "tool", "#!/bin/sh\necho 1\n")
	moved := w.plan(t).Step("exec.e")
	if s.Key != moved.Key {
		t.Error("the folder of the program is in the key")
	}
	if s.Program != filepath.Join(first, "tool") || moved.Program == s.Program {
		t.Errorf("it resolved to %s, then to %s", s.Program, moved.Program)
	}

	if err := os.Symlink(s.Program, filepath.Join(first, "alias")); err != nil {
		t.Fatal(err)
	}
	w.environ["PATH"] = first
	w.target.set("command", `["alias"]`)
	if w.plan(t).Step("exec.e").Key == s.Key {
		t.Error("the name that a program is called by is not in the key")
	}
}

func TestPathIsSearchedInOrder(t *testing.T) {
	w := execWorld(t, `["tool"]`)
	good := w.environ["PATH"]
	folder, plain := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "tool"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(plain, "tool"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.environ["PATH"] = strings.Join([]string{"", ".", "bin", folder, plain, good}, string(os.PathListSeparator))
	if got := w.plan(t).Step("exec.e").Program; got != filepath.Join(good, "tool") {
		t.Errorf("it resolved to %s", got)
	}
}

func TestProgramsThatCannotRun(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]string{
		`["nowhere"]`:              `"nowhere" is not on PATH`,
		`["./tool"]`:               "neither a name on PATH nor an absolute path",
		`["/no/such/program"]`:     "there is no /no/such/program",
		`["` + plain + `"]`:        "is not an executable file",
		`["` + os.TempDir() + `"]`: "is not an executable file",
		`[""]`:                     "neither a name on PATH",
		`[]`:                       "must name a program",
	} {
		_, err := execWorld(t, command).make(t)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "r.hcl:2: ") {
			t.Errorf("%s: %v, want %q at line 2", command, err, want)
		}
	}
}

func TestUnsetVariablesAreLeftOut(t *testing.T) {
	w := execWorld(t, `["tool"]`)
	w.target.set("env", `["A_VAR", "NOT_SET"]`)
	if got, want := string(w.plan(t).Steps[0].Action.Params), `{"command":["tool"],"env":{"A_VAR":"a"}}`; got != want {
		t.Errorf("params are %s, want %s", got, want)
	}
	w.environ["A_VAR"] = "\xff"
	if _, err := w.make(t); err == nil || !strings.Contains(err.Error(), "A_VAR is not UTF-8") {
		t.Error(err)
	}
}
