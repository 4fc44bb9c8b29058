package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestGuides carries out the guides that teach by example, each in an empty folder: a fence with a file's name is that file,
// and in a console fence every `$ ` line is a command, the lines after it what it must say. "…" stands for any text, and
// `# exit N` after a command for its exit code.
func TestGuides(t *testing.T) {
	for _, name := range []string{"getting-started", "recipe", "stage-kind", "air-gapped"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			page, err := os.ReadFile(filepath.Join("..", "..", "docs", "guides", name+".md"))
			if err != nil {
				t.Fatal(err)
			}
			g := &guide{dir: t.TempDir(), home: t.TempDir()}
			for _, f := range fences(string(page)) {
				g.follow(t, f)
			}
			if g.commands < 5 {
				t.Errorf("the guide shows %d commands only", g.commands)
			}
		})
	}
}

// TestTensorRTGuide: what the guide shows of a recipe is one, together with the stages that it takes for granted. It runs on a GPU only.
func TestTensorRTGuide(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "guides", "tensorrt.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := `stage "download" "base" {
  source = "hf://meta-llama/Meta-Llama-3-8B"
}
stage "perplexity" "base" {
  model     = download.base.model
  tokenizer = download.base.tokenizer
  text      = path("*.txt")
}
`
	for _, f := range fences(string(page)) {
		if f.lang == "hcl" {
			text += strings.Join(f.lines, "\n") + "\n"
		}
	}
	g := &guide{dir: t.TempDir(), home: t.TempDir()}
	g.follow(t, fence{file: "held.txt", lines: []string{"a text"}})
	g.follow(t, fence{file: "guide.hcl", lines: strings.Split(text, "\n")})
	g.run(t, "tinfra validate guide.hcl", []string{"guide.hcl is valid: 8 stages"})
}

// fence is one fenced block of a page: its language, the file's name after it, its lines.
type fence struct {
	lang, file string
	lines      []string
}

func fences(page string) []fence {
	var out []fence
	var open *fence
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case open != nil && line == "```":
			out = append(out, *open)
			open = nil
		case open != nil:
			open.lines = append(open.lines, line)
		case strings.HasPrefix(line, "```"):
			lang, file, _ := strings.Cut(strings.TrimPrefix(line, "```"), " ")
			open = &fence{lang: lang, file: file}
		}
	}
	return out
}

type guide struct {
	dir, home string
	commands  int
}

func (g *guide) follow(t *testing.T, f fence) {
	t.Helper()
	switch {
	case f.file != "":
		path := filepath.Join(g.dir, f.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Join(f.lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	case f.lang == "console":
		for i := 0; i < len(f.lines); {
			command := strings.TrimPrefix(f.lines[i], "$ ")
			i++
			var want []string
			for ; i < len(f.lines) && !strings.HasPrefix(f.lines[i], "$ "); i++ {
				want = append(want, f.lines[i])
			}
			g.run(t, command, want)
		}
	}
}

func (g *guide) run(t *testing.T, command string, want []string) {
	t.Helper()
	g.commands++
	text, exit, _ := strings.Cut(command, "# exit ")
	code, _ := strconv.Atoi(strings.TrimSpace(exit))
	cmd := exec.CommandContext(t.Context(), "sh", "-c", text)
	cmd.Dir = g.dir
	cmd.Env = append(os.Environ(), "HOME="+g.home, "XDG_CACHE_HOME=", "TINFRA_CACHE="+filepath.Join(g.home, "cache"), "GORACE=atexit_sleep_ms=0")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("$ %s\n%v", command, err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("$ %s\n%s\nexit code %d, want %d", command, &said, got, code)
	}
	rest := said.String()
	for _, line := range want {
		at := pattern(line).FindStringIndex(rest)
		if at == nil {
			t.Fatalf("$ %s\n%s\nthe guide shows this line, which was not said, or not in this order:\n%s", command, &said, line)
		}
		rest = rest[at[1]:]
	}
}

// pattern matches a line of a guide; blanks are as many as the table's columns need.
func pattern(line string) *regexp.Regexp {
	p := regexp.QuoteMeta(strings.TrimSpace(line))
	p = regexp.MustCompile(`\s+`).ReplaceAllString(p, `\s+`)
	return regexp.MustCompile(`(?m)` + strings.ReplaceAll(p, "…", ".*"))
}
