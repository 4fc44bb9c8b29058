package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// worker is one run of the test worker.
type worker struct {
	protocol.Request
	story string // the story's folder: <story>/cache/work/<key>/<attempt> is the workspace
	out   protocol.Result
}

// testWorker is a worker in Go, so that stories pay for no start of Python. It leaves a line in <story>/runs.log for
// each run.
func testWorker() {
	b, err := os.ReadFile(protocol.RequestFile)
	check(err)
	w := worker{out: protocol.Result{Protocol: protocol.Version}}
	check(json.Unmarshal(b, &w.Request))
	w.story = filepath.Clean(filepath.Join(os.Getenv("TINFRA_WORKSPACE"), "..", "..", "..", ".."))
	note(filepath.Join(w.story, "runs.log"), w.Kind+"\n")
	kinds := map[string]func(){
		"make": w.make, "upper": w.upper, "graft": w.graft, "join": w.join, "score": w.score, "trial": w.trial,
		"model": func() { write("out/model/config.json", "{}") },
		"login": w.login, "pinned": w.pinned, "leaky": w.leak, "leakysource": w.leakSource,
	}
	kinds[w.Kind]()
	w.finish()
}

func (w *worker) finish() {
	b, err := json.Marshal(w.out)
	check(err)
	check(os.WriteFile("tmp/result", b, 0o644))
	check(os.Rename("tmp/result", protocol.ResultFile))
	os.Exit(protocol.ExitOK)
}

func (w *worker) metric(name string, v float64) {
	if w.out.Metrics == nil {
		w.out.Metrics = map[string]float64{}
	}
	w.out.Metrics[name] = v
}

func (w *worker) params(into any) { check(json.Unmarshal(w.Params, into)) }

func (w *worker) make() {
	var p struct{ Text string }
	w.params(&p)
	fmt.Println("writing", p.Text)
	write("out/files/text.txt", p.Text)
	w.metric("length", float64(len(p.Text)))
}

func (w *worker) upper() {
	var p struct{ Suffix string }
	w.params(&p)
	for path, text := range read("in/text") {
		write(filepath.Join("out/text", path), strings.ToUpper(text)+p.Suffix)
	}
}

func (w *worker) graft() {
	var p struct{ Note string }
	w.params(&p)
	w.out.Reused = map[string]string{}
	for path := range read("in/text") {
		w.out.Reused["text/kept/"+path] = "text/" + path
	}
	if p.Note != "" {
		write("out/text/note.txt", p.Note)
	}
}

func (w *worker) join() {
	texts := read("in/parts")
	paths := make([]string, 0, len(texts))
	for path := range texts {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	all := ""
	for _, path := range paths {
		all += path + ": " + texts[path] + "\n"
	}
	write("out/text/joined.txt", all)
}

func (w *worker) score() {
	var p struct {
		Value    float64
		Protocol string
	}
	w.params(&p)
	write("out/result/score.json", fmt.Sprint(p.Value))
	w.metric("score", p.Value)
	if p.Protocol != "" {
		// The fingerprint of a protocol is a label; what it says is an observation.
		w.out.Labels = map[string]string{"protocol": "fingerprint of " + p.Protocol}
		w.out.Observed = map[string]string{"protocol": fmt.Sprintf("{%q:%q}", "window", p.Protocol)}
	}
}

func (w *worker) login() {
	token := os.Getenv("TEST_TOKEN")
	fmt.Println("on stdout:", token)
	fmt.Fprintln(os.Stderr, "on stderr:", token)
	emit(protocol.Event{Type: "log", Message: "in an event: " + token})
	write("out/files/length.txt", fmt.Sprint(len(token)))
}

func (w *worker) pinned() {
	path := strings.TrimPrefix(w.Source, "file:")
	b, err := os.ReadFile(filepath.Join(w.RecipeDir, path))
	check(err)
	write(filepath.Join("out/files", filepath.Base(path)), string(b))
	w.out.Resolved = map[string]string{"file": path}
	w.out.Observed = map[string]string{"source": w.Source}
}

func (w *worker) trial() {
	var p struct {
		Mode   string
		Amount int
	}
	w.params(&p)
	emit(protocol.Event{Type: "log", Message: "this is " + p.Mode})
	if f := w.faults(p.Amount)[p.Mode]; f != nil {
		f()
	}
	write("out/files/done.txt", p.Mode)
	w.metric("score", float64(p.Amount))
}

func (w *worker) faults(amount int) map[string]func() {
	return map[string]func(){
		"crash": func() {
			for i := range amount {
				fmt.Fprintf(os.Stderr, "line %d before the crash\n", i+1)
			}
			os.Exit(1)
		},
		"nan":         func() { w.result(`{"protocol":1,"metrics":{"score":NaN}}`) },
		"rubbish":     func() { emitRaw("this is no JSON\n"); fmt.Print("\x00\xff\x1b[2J"); w.result("rubbish") },
		"half-result": func() { w.result(`{"protocol":1,"metr`) },
		"no-result":   func() { os.Exit(0) },
		"late-exit":   func() { w.result(`{"protocol":1}`, 1) },
		"outside":     func() { write("elsewhere.txt", "x"); write("out/stray.txt", "x") },
		"escape":      func() { check(os.Symlink("/etc/passwd", "out/files/link")) },
		"special":     func() { check(syscall.Mkfifo("out/files/pipe", 0o644)) },
		"undeclared":  func() { write("out/other/file.txt", "x") },
		"fake-metric": func() { w.metric("unheard_of", 1) },
		"change-input": func() {
			path := "in/text/text.txt"
			check(os.Chmod(path, 0o644))
			check(os.WriteFile(path, []byte("changed"), 0o644))
		},
		"bad-param": func() {
			emit(protocol.Event{Type: "problem", Param: "amount", Message: "amount is not to my liking", Hint: "try 3"})
			os.Exit(protocol.ExitBadParam)
		},
		"bad-input": func() {
			emit(protocol.Event{Type: "problem", Input: "text", Message: "this text is no good"})
			os.Exit(protocol.ExitBadInput)
		},
		"machine":   func() { os.Exit(protocol.ExitMachine) },
		"memory":    func() { os.Exit(protocol.ExitResources) },
		"flaky":     func() { w.flaky(amount) },
		"hang":      func() { w.ready(); select {} },
		"stubborn":  func() { signal.Ignore(syscall.SIGTERM); w.ready(); select {} },
		"spawn":     w.spawn,
		"gated":     w.gated,
		"slow":      func() { slow(amount) },
		"fill":      func() { fill(amount) },
		"flood":     func() { flood(amount) },
		"scribble":  scribble,
		"deep":      func() { deep(amount) },
		"odd-names": oddNames,
		"bad-name":  func() { check(os.WriteFile("out/files/"+badNames[amount], nil, 0o644)) },
		"many":      func() { many(amount) },
		"sparse": func() {
			check(os.WriteFile("out/files/hole", nil, 0o644))
			check(os.Truncate("out/files/hole", int64(amount)<<20))
		},
		"unfit":     func() { w.out.Labels = map[string]string{"fits.gpu.arch": "sm_1"} },
		"synthetic": func() { w.out.Labels = map[string]string{"synthetic": "made up"} },
	}
}

func (w *worker) result(text string, code ...int) {
	check(os.WriteFile("tmp/result", []byte(text), 0o644))
	check(os.Rename("tmp/result", protocol.ResultFile))
	os.Exit(append(code, 0)[0])
}

// flaky fails with a passing trouble until this many attempts have been made.
func (w *worker) flaky(attempts int) {
	path := filepath.Join(w.story, "attempts.log")
	note(path, "x")
	b, err := os.ReadFile(path)
	check(err)
	if len(b) < attempts {
		emit(protocol.Event{Type: "log", Level: "warning", Message: "the weather is bad"})
		os.Exit(protocol.ExitTransient)
	}
}

// ready tells the story, which reads from the pipe, that the worker runs.
func (w *worker) ready() { w.pipe("ready", os.O_WRONLY) }

// gated waits at the pipe until the story writes to it, and says that it has come so far.
func (w *worker) gated() {
	emit(protocol.Event{Type: "progress", Done: 1, Total: 2, Unit: "steps", What: "at the gate"})
	w.ready()
	w.pipe("gate", os.O_RDONLY)
}

func (w *worker) pipe(name string, flag int) {
	f, err := os.OpenFile(filepath.Join(w.story, name), flag, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	check(err)
	if flag == os.O_WRONLY {
		_, err = f.WriteString("ready\n")
	} else {
		_, err = f.Read(make([]byte, 1))
	}
	check(err)
	check(f.Close())
}

// spawn leaves a grandchild behind that would outlive its parent: in a session of its own, and deaf to SIGTERM.
func (w *worker) spawn() {
	c := exec.Command("sh", "-c", "trap '' TERM HUP; exec sleep 86400")
	c.Env = append(os.Environ(), "TINFRA_TEST_ORPHAN="+w.story)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	check(c.Start())
	w.ready()
	if _, err := os.Lstat(filepath.Join(w.story, "ready")); err == nil {
		select {} // a story that listens cancels us
	}
}

// slow is busy for that many tenths of a second, and says how far it is.
func slow(tenths int) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := range tenths {
		<-tick.C
		emit(protocol.Event{Type: "progress", Done: float64(i + 1), Total: float64(tenths), Unit: "steps", What: "walking"})
	}
}

// fill writes that many mebibytes, none like another.
func fill(mebibytes int) {
	f, err := os.Create("out/files/big.bin")
	check(err)
	block := make([]byte, 1<<20)
	for i := range mebibytes {
		for j := range block {
			block[j] = byte(i*7 + j*j)
		}
		if _, err := f.Write(block); err != nil {
			emit(protocol.Event{Type: "problem", Message: err.Error()})
			os.Exit(protocol.ExitResources)
		}
	}
	check(f.Close())
}

// flood prints that many mebibytes of lines of a kilobyte.
func flood(mebibytes int) {
	block := bytes.Repeat([]byte(strings.Repeat("x", 1023)+"\n"), 1024)
	fmt.Println("the first line")
	for range mebibytes {
		_, err := os.Stdout.Write(block)
		check(err)
	}
	fmt.Println("the last line")
}

// scribble leaves a process behind that writes to an output without an end, out of the worker's session.
func scribble() {
	c := exec.Command("sh", "-c", "trap '' TERM HUP; (while :; do echo more; done) >> out/files/scribbled.txt & wait")
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	check(c.Start())
	for info, err := os.Stat("out/files/scribbled.txt"); err != nil || info.Size() == 0; {
		info, err = os.Stat("out/files/scribbled.txt")
	}
}

// deep writes a file whose path is longer than any system call takes.
func deep(bytes int) {
	here, err := os.Getwd()
	check(err)
	check(os.Chdir("out/files"))
	for n := 0; n < bytes; n += 100 {
		check(os.Mkdir(strings.Repeat("d", 99), 0o755))
		check(os.Chdir(strings.Repeat("d", 99)))
	}
	check(os.WriteFile("leaf", []byte("x"), 0o644))
	check(os.Chdir(here))
}

// oddNames writes files that are fit for a cache and hard on a terminal.
func oddNames() {
	for _, name := range []string{
		"it's", `say "so"`, "\U0001F600", "\u202Eevil.txt", " ", "-rf", "a b", "%41", "é", "~", "con", strings.Repeat("n", 255),
	} {
		check(os.WriteFile("out/files/"+name, []byte(name), 0o644))
	}
}

// badNames are those that some system would not take, or take for others.
var badNames = []string{"new\nline", "\xff\xfe", "e\u0301", `back\slash`, "esc\x1b[2J", "DONE.TXT"}

func many(files int) {
	for i := range files {
		write(fmt.Sprintf("out/files/%03d/part-%06d.bin", i/1000, i), fmt.Sprint(i))
	}
}

func emit(e protocol.Event) {
	e.Time = float64(time.Now().UnixMilli()) / 1000
	b, err := json.Marshal(e)
	check(err)
	emitRaw(string(b) + "\n")
}

func emitRaw(line string) { note(protocol.EventsFile, line) }

func note(path, text string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	check(err)
	_, err = f.WriteString(text)
	check(err)
	check(f.Close())
}

func write(path, text string) {
	check(os.MkdirAll(filepath.Dir(path), 0o755))
	check(os.WriteFile(path, []byte(text), 0o644))
}

// read is the files below dir by their path there.
func read(dir string) map[string]string {
	texts := map[string]string{}
	check(fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		texts[path] = string(b)
		return err
	}))
	return texts
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "testworker:", err)
		os.Exit(1)
	}
}
