package protocol

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// tailed collects what a Tail says, one word a line.
type tailed struct {
	t    *testing.T
	name string
	tail *Tail
	said []string
}

func newTailed(t *testing.T) *tailed {
	name := filepath.Join(t.TempDir(), EventsFile)
	return &tailed{t: t, name: name, tail: NewTail(name, 0)}
}

func (d *tailed) write(text string) {
	f, err := os.OpenFile(d.name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		d.t.Fatal(err)
	}
}

func (d *tailed) each(e Event, err error) {
	if err == nil {
		d.said = append(d.said, e.Message)
		return
	}
	line, ok := errors.AsType[*LineError](err)
	if !ok {
		d.t.Fatalf("not a *LineError: %v", err)
	}
	d.said = append(d.said, fmt.Sprintf("line %d: %v", line.Line, line.Err))
}

func (d *tailed) poll(want ...string) {
	d.t.Helper()
	d.said = nil
	if err := d.tail.Poll(d.each); err != nil {
		d.t.Fatal(err)
	}
	d.expect(want)
}

func (d *tailed) end(want ...string) {
	d.t.Helper()
	d.said = nil
	if err := d.tail.End(d.each); err != nil {
		d.t.Fatal(err)
	}
	d.expect(want)
}

func (d *tailed) expect(want []string) {
	d.t.Helper()
	if len(want) != len(d.said) {
		d.t.Fatalf("said %q, want %q", d.said, want)
	}
	for i := range want {
		if !strings.Contains(d.said[i], want[i]) {
			d.t.Fatalf("said %q, want %q", d.said, want)
		}
	}
}

func message(m string) string { return `{"type":"log","time":1,"message":"` + m + `"}` }

func TestTailReadsCompleteLinesOnly(t *testing.T) {
	d := newTailed(t)
	d.poll()
	d.write(message("a") + "\n" + message("b")[:10])
	d.poll("a")
	d.poll()
	d.write(message("b")[10:] + "\n" + message("c") + "\n")
	d.poll("b", "c")
	d.end()
}

func TestTailReportsRubbishAndGoesOn(t *testing.T) {
	d := newTailed(t)
	d.write("Loading: 100%\n\x00\xff\n\n" + message("a") + "\n" + `{"type":"log","time":NaN,"message":"x"}` + "\n" + message("b") + "\n")
	d.poll("line 1: not JSON", "line 2: not JSON", "line 3: not JSON", "a", "line 5: time", "b")
	d.write(message("half")[:12])
	d.end("line 7: the line has no end")
}

func TestTailSkipsAHugeLine(t *testing.T) {
	d := newTailed(t)
	d.write(message(strings.Repeat("x", MaxLine)))
	d.poll("line 1: longer than 1048576 bytes")
	if len(d.tail.partial) != 0 {
		t.Errorf("%d bytes of it are kept", len(d.tail.partial))
	}
	d.write(strings.Repeat("y", 3*MaxLine) + "\n" + message("after") + "\n")
	d.poll("after")

	fits := message(strings.Repeat("x", MaxLine-len(message(""))))
	d.write(fits + "\n")
	d.poll("xxx")
	d.write(fits + " \n")
	d.poll("line 4: longer")
	d.end()
}

// A worker that writes faster than anyone reads, or a file that is one huge hole, costs a bounded time; what was said last
// is heard.
func TestTailReadsBothEndsOfAFlood(t *testing.T) {
	d := newTailed(t)
	d.tail.most = 4 * MaxLine
	d.write(message("first") + "\n")
	const hole = 1 << 40
	if err := os.Truncate(d.name, hole); err != nil {
		t.Fatal(err)
	}
	d.write("\n" + message("last") + "\n" + message("half")[:9])
	d.poll("first", "line 2: longer than", "bytes were skipped", "last")
	if len(d.tail.partial) != 9 {
		t.Errorf("%d bytes are kept", len(d.tail.partial))
	}
	d.write(message("half")[9:] + "\n")
	d.poll("half")

	lines := int(d.tail.most) / len(message("0000000")+"\n") * 2
	var text strings.Builder
	for i := range lines {
		text.WriteString(message(fmt.Sprintf("%07d", i)) + "\n")
	}
	d.write(text.String())
	d.said = nil
	if err := d.tail.Poll(d.each); err != nil {
		t.Fatal(err)
	}
	if d.said[0] != "0000000" || d.said[len(d.said)-1] != fmt.Sprintf("%07d", lines-1) || len(d.said) > lines/2+1 || len(d.said) < lines/2-2 {
		t.Errorf("%d of %d lines, from %s to %s", len(d.said), lines, d.said[0], d.said[len(d.said)-1])
	}
	for i, said := range d.said {
		if _, err := fmt.Sscanf(said, "%d", new(int)); err != nil && !strings.Contains(said, "bytes were skipped") {
			t.Fatalf("%d: %s", i, said)
		}
	}
	if info, err := os.Stat(d.name); err != nil || d.tail.Offset() != info.Size() {
		t.Errorf("offset %d: %v", d.tail.Offset(), err)
	}
}

func TestTailGoesOnAtAnOffset(t *testing.T) {
	d := newTailed(t)
	d.write(message("a") + "\n" + message("b")[:5])
	d.poll("a")
	d.tail = NewTail(d.name, d.tail.Offset())
	d.write(message("b")[5:] + "\n")
	d.poll("b")
	if got, want := d.tail.Offset(), int64(len(message("a")+message("b"))+2); got != want {
		t.Errorf("offset %d, want %d", got, want)
	}
}

func TestTailOfAFileThatBecameShorter(t *testing.T) {
	d := newTailed(t)
	d.write(message("a") + "\n" + message("b") + "\n")
	d.poll("a", "b")
	if err := os.WriteFile(d.name, []byte(message("c")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.poll("became shorter", "c")
}

func TestTailRefusesWhatIsNoFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), EventsFile)
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := NewTail(pipe, 0).Poll(nil); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("a pipe: %v", err)
	}
	link := filepath.Join(t.TempDir(), EventsFile)
	if err := os.Symlink(pipe, link); err != nil {
		t.Fatal(err)
	}
	if err := NewTail(link, 0).Poll(nil); err == nil || !strings.Contains(err.Error(), "link") {
		t.Errorf("a link: %v", err)
	}
}

func TestReadResult(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadResult(dir); !errors.Is(err, ErrNoResult) {
		t.Errorf("nothing there: %v", err)
	}
	name := filepath.Join(dir, ResultFile)
	write := func(text string) {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"protocol":1,"metrics":{"a":1}}`)
	if r, err := ReadResult(dir); err != nil || r.Metrics["a"] != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	write(`{"protocol":1,"labels":{"a":"` + strings.Repeat("x", MaxResult) + `"}}`)
	if _, err := ReadResult(dir); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("a huge one: %v", err)
	}
	os.Remove(name)
	if err := os.Mkdir(name, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadResult(dir); err == nil || errors.Is(err, ErrNoResult) {
		t.Errorf("a folder: %v", err)
	}
}
