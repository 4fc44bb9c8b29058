package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// canaries are pairs of secrets. The first has characters that encodings change, and the other begins within it. The
// long form has more: a key of many lines, and one that is a word of a line of it; one that begins with the other.
var canaries = map[string][2]string{
	"marks": {`cn4ry-T0k/+"=\n%'ö&<x>-kQ7end4Zp`, `%'ö&<x>-kQ7end4ZpQwErTy99`},
}

var moreCanaries = map[string][2]string{
	"lines":   {"-----CN4RY KEY-----\nMIIb0wVx3Zk9\nQq7LmR2tYp5s==\n-----CN4RY END-----\n", "qX9-cn4ry"},
	"token":   {"hf_cN4ryAbCdEfGhIjKlMnOpQrStUvWxYz12", "hf_cN4ryAbCdEfGh"},
	"spaces":  {"cn4ry correct horse battery staple", "  padded-cn4ry-value\t"},
	"unicode": {"cn4ry-пароль-密码-🔑-ende", "cn4rỳ-\U0001d54f-ÿþ-x"},
	"long":    {strings.Repeat("cn4ry.K3y+", 40) + "==", "cn4ry.K3y+cn4ry.K3y+tail"},
	"escapes": {`cn4ry\u0041\x41%41\\n"'z`, `n4ry%2Fcn4ry%252F`},
}

// leakStory has a worker try everything, in builds that succeed, fail, are tried again, and are killed and gone on with,
// and looks at all of it through all verbs.
const leakStory = `
keep tinfra plan
keep tinfra plan --json
keep tinfra build --keep-going --logs
stderr '\*\*\*'
keep tinfra build --keep-going --json
keep tinfra build --keep-going --plain --force leaky.ok
leaks
mkdir got
exec tinfra get leaky.ok.files -o got/ok
grep '^[0-9]+ clean$' got/ok/done.txt
exec tinfra get exec.env.files -o got/env
grep TINFRA_WORKSPACE got/env/env.txt
! grep LEAK_TOKEN got/env/env.txt
! grep MY_TOKEN got/env/env.txt
keep tinfra show
keep tinfra show --json
keep tinfra show leaky.ok
keep tinfra show leaky.name
keep tinfra show leaky.ok --json
keep tinfra log leaky.ok
stdout 'stdout, base64: .*\*\*\*'
keep tinfra log leaky.ok --json
keep tinfra log leaky.crash
stdout 'ValueError: .*\*\*\*'
keep tinfra log leaky.transient
keep tinfra why leaky.ok
keep tinfra why leaky.crash
keep tinfra graph
keep tinfra runs --json
keep tinfra lineage up leaky.ok
keep tinfra lineage down leaky.ok --json
keep tinfra diff leaky.ok leaky.ok --json
keep tinfra blame score leaky.ok
keep tinfra sql --csv 'SELECT * FROM runs'
keep tinfra sql --csv 'SELECT * FROM observed'
keep tinfra sql --csv 'SELECT * FROM labels'
keep tinfra report --run a=leaky.ok -o report
keep tinfra report --run a=leaky.ok --json
keep tinfra cache stat
keep tinfra cache verify
keep tinfra lock --update
grep 'commit.*\*\*\*' recipe.lock.hcl
leaks

# A build that is killed leaves what its worker says to the next one.
exec mkfifo ready gate
! exec tinfra build gated.txt --plain --logs &first&
exec cat ready
kill -KILL first
wait first
leaks running
exec sh -c 'exec tinfra build gated.txt --json >said/second.json 2>said/second.txt' &second&
await said/second.json '"type":"started"'
exec sh -c 'echo go > gate'
wait second
keep tinfra log leaky.gated --recipe gated.txt --json
stdout 'half of it'
keep tinfra log leaky.gated --recipe gated.txt
emptydir cache/work
leaks

-- brought.txt --
what the source brings
-- recipe.hcl --
stage "leaky" "ok" {
  way   = "ok"
  token = secret("MY_TOKEN")
  other = secret("MY_OTHER")
}
stage "leakysource" "f" {
  source = "file:brought.txt"
  token  = secret("MY_TOKEN")
}
stage "exec" "env" {
  command = ["sh", "-c", "env > out/files/env.txt; tr '\\0' '\\n' < /proc/$PPID/environ > out/files/parent.txt"]
}
STAGES
-- gated.txt --
stage "leaky" "gated" {
  way   = "gated"
  token = secret("MY_TOKEN")
  other = secret("MY_OTHER")
}
-- report/keep --
`

func TestSoakASecretIsFoundNowhere(t *testing.T) {
	all := maps.Clone(canaries)
	if soak {
		maps.Copy(all, moreCanaries)
	}
	ways := []string{"crash", "bad-param", "bad-input", "transient", "metric", "field", "rubbish", "stray", "undeclared", "link", "name", "content"}
	stage := ""
	for _, way := range ways {
		stage += fmt.Sprintf("stage \"leaky\" %q {\n  way = %q\n  retries = 1\n  token = secret(\"MY_TOKEN\")\n  other = secret(\"MY_OTHER\")\n}\n", way, way)
	}
	for name, pair := range all {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			script := strings.ReplaceAll(leakStory, "STAGES", stage)
			if err := os.WriteFile(filepath.Join(dir, name+".txtar"), []byte(script), 0o600); err != nil {
				t.Fatal(err)
			}
			p := stories(t, dir)
			settled := p.Setup
			p.Setup = func(env *testscript.Env) error {
				env.Setenv("MY_TOKEN", pair[0])
				env.Setenv("MY_OTHER", pair[1])
				return settled(env)
			}
			p.Cmds["keep"], p.Cmds["leaks"] = cmdKeep, cmdLeaks
			testscript.Run(t, p)
		})
	}
}

// cmdKeep runs a command, which may fail, and keeps what it said.
func cmdKeep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: keep COMMAND…")
	}
	_ = ts.Exec(args[0], args[1:]...) // many of them say that something failed
	said := ts.MkAbs("said")
	ts.Check(os.MkdirAll(said, 0o700))
	there, err := os.ReadDir(said)
	ts.Check(err)
	text := ts.ReadFile("stdout") + "\n" + ts.ReadFile("stderr")
	if strings.TrimSpace(text) == "" {
		ts.Fatalf("%q said nothing", args)
	}
	ts.Check(os.WriteFile(filepath.Join(said, fmt.Sprintf("%02d-%s.txt", len(there), args[1])), []byte(text), 0o600))
}

// cmdLeaks looks for the secrets in every file and every name of the story: cache, home, project, and what was said. While
// a worker is running, what it wrote itself lies in its workspace, which nobody else may read.
func cmdLeaks(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("leaks cannot be negated")
	}
	running := len(args) == 1 && args[0] == "running"
	hunt := newHunt(ts.Getenv("MY_TOKEN"), ts.Getenv("MY_OTHER"))
	root, files, shut := ts.Getenv("WORK"), 0, 0
	ts.Check(filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if what := hunt.in(rel); what != "" {
			ts.Fatalf("the name %s holds %s", rel, what)
		}
		if ok, _ := filepath.Match("cache/work/*/*", rel); ok && d.IsDir() && running {
			info, err := d.Info()
			ts.Check(err)
			if info.Mode().Perm() != 0o700 {
				ts.Fatalf("%s has mode %v", rel, info.Mode())
			}
			shut++
			for _, name := range []string{"request.json", "handle.json", "secrets.json", "supervisor.log"} {
				b, err := os.ReadFile(filepath.Join(path, name))
				ts.Check(err)
				if what := hunt.in(string(b)); what != "" {
					ts.Fatalf("%s of the workspace holds %s", name, what)
				}
			}
			return fs.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		ts.Check(err)
		files++
		if bytes.HasPrefix(b, []byte("\x1f\x8b")) || bytes.HasPrefix(b, []byte("PK\x03\x04")) {
			ts.Fatalf("%s is compressed, and so would hide a secret", rel)
		}
		if what := hunt.in(string(b)); what != "" {
			ts.Fatalf("%s holds %s", rel, what)
		}
		return nil
	}))
	if files < 20 || running != (shut == 1) {
		ts.Fatalf("only %d files and %d workspaces were looked at", files, shut)
	}
}

// hunt knows pieces of secrets, by their length: a piece is found whatever stands around it. It shares no code with what
// hides secrets.
type hunt struct {
	pieces map[int]map[string]string // by length: the piece → what it is of
	begins [1 << 16]bool             // two bytes with which a piece begins
}

const (
	piecePlain  = 8
	pieceHex    = 16
	pieceBase64 = 12
)

func newHunt(secrets ...string) *hunt {
	h := &hunt{pieces: map[int]map[string]string{piecePlain: {}, pieceHex: {}, pieceBase64: {}}}
	for _, s := range secrets {
		s = squeezed(strings.TrimSpace(s))
		h.add(piecePlain, 1, s, "plain")
		h.add(piecePlain, 1, strings.ReplaceAll(s, " ", "+"), "as forms write blanks")
		h.add(pieceHex, 2, hex.EncodeToString([]byte(s)), "hex")
		h.add(pieceHex, 2, strings.ToUpper(hex.EncodeToString([]byte(s))), "HEX")
		for before := range 3 {
			code := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + s))
			code = strings.TrimRight(code, "=")
			if len(code) < pieceBase64+6 {
				continue
			}
			code = code[3 : len(code)-3] // what stands around changes the ends
			h.add(pieceBase64, 1, code, "base64")
			h.add(pieceBase64, 1, strings.NewReplacer("+", "-", "/", "_").Replace(code), "base64 of URLs")
		}
	}
	return h
}

func (h *hunt) add(size, step int, s, form string) {
	for i := 0; i+size <= len(s); i += step {
		h.pieces[size][s[i:i+size]] = form
		h.begins[int(s[i])<<8|int(s[i+1])] = true
	}
}

// in tells which piece a text has, as it is or read in another way.
func (h *hunt) in(text string) string {
	for name, one := range readAs(text) {
		for i := 0; i+piecePlain <= len(one); i++ {
			if !h.begins[int(one[i])<<8|int(one[i+1])] {
				continue
			}
			for size, pieces := range h.pieces {
				if i+size > len(one) {
					continue
				}
				if form, ok := pieces[one[i:i+size]]; ok {
					return fmt.Sprintf("%q, %s, in its %s: %q", one[i:i+size], form, name, one[max(0, i-60):min(len(one), i+60)])
				}
			}
		}
	}
	return ""
}

var (
	colours   = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)
	backslash = regexp.MustCompile(`\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|.)`)
	percents  = regexp.MustCompile(`%[0-9a-fA-F]{2}`)
)

// squeezed is without colours and all characters that make no mark, line ends too.
func squeezed(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, colours.ReplaceAllString(s, ""))
}

func readAs(text string) map[string]string {
	all := map[string]string{"text": text, "lines put together": squeezed(text), "messages": messages(text)}
	if strings.Contains(text, `\`) {
		once := unslashed(text)
		all["strings"], all["strings of strings"] = squeezed(once), squeezed(unslashed(once))
	}
	if strings.Contains(text, "%") {
		all["addresses"] = squeezed(unpercented(text))
	}
	return all
}

func unslashed(s string) string {
	return backslash.ReplaceAllStringFunc(s, func(m string) string {
		switch m[1] {
		case 'u', 'U', 'x':
			v, err := strconv.ParseUint(m[2:], 16, 32)
			if err != nil {
				return m
			}
			if m[1] == 'x' {
				return string([]byte{byte(v)})
			}
			return string(rune(v))
		case 'n', 'r', 't':
			return "\n"
		default:
			return m[1:]
		}
	})
}

func unpercented(s string) string {
	return percents.ReplaceAllStringFunc(s, func(m string) string {
		plain, err := url.PathUnescape(m)
		if err != nil {
			return m
		}
		return plain
	})
}

// messages are those of JSON lines, one after the other, by their streams.
func messages(text string) string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		var e struct{ Stream, Message, What string }
		if json.Unmarshal([]byte(line), &e) == nil {
			all[e.Stream] += e.Message
			all["what"] += e.What
			all["all"] += e.Message
		}
	}
	return squeezed(all["stdout"] + "\n" + all["stderr"] + "\n" + all["worker"] + "\n" + all["what"] + "\n" + all["all"])
}

// TestHuntFindsWhatIsThere proves that the search above can fail, in each form.
func TestHuntFindsWhatIsThere(t *testing.T) {
	all := maps.Clone(moreCanaries)
	maps.Copy(all, canaries)
	for name, pair := range all {
		h := newHunt(pair[0])
		if what := h.in("nothing to see here, ***"); what != "" {
			t.Errorf("%s: found %s", name, what)
		}
		for form, as := range leakyForms {
			if form == "html" && !strings.ContainsAny(pair[0], `<>&"'`) {
				continue
			}
			if h.in("before "+as(pair[0])+" after") == "" {
				t.Errorf("%s: not found as %s", name, form)
			}
			log := fmt.Sprintf("{\"stream\":\"stdout\",\"message\":%s}\n{\"stream\":\"stdout\",\"message\":%s}\n", jsonOf(as(pair[0])[:8]), jsonOf(as(pair[0])[8:]))
			if h.in(log) == "" {
				t.Errorf("%s: not found as %s, split over two lines of a log", name, form)
			}
		}
	}
}
