package run

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

func TestALongLogKeepsBothEnds(t *testing.T) {
	l := newStoredLog(10_000)
	printed := int64(0)
	for i := range 10_000 {
		line := fmt.Sprintf("line %d", i)
		l.add(event.Event{Type: event.Log, Message: line}, int64(len(line)+1))
		printed += int64(len(line) + 1)
	}
	text := l.encode()
	if len(text) > 21_000 {
		t.Errorf("%d bytes are kept", len(text))
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	var messages []string
	for _, line := range lines {
		var e event.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		messages = append(messages, e.Message)
	}
	var size, kept int64
	note := slices.IndexFunc(messages, func(s string) bool { return strings.Contains(s, "left out") })
	if _, err := fmt.Sscanf(messages[note], "… %d bytes of what the worker printed were left out here …", &size); err != nil {
		t.Fatal(err)
	}
	for i, m := range messages {
		if i != note {
			kept += int64(len(m) + 1)
		}
	}
	if messages[0] != "line 0" || messages[len(messages)-1] != "line 9999" || kept+size != printed {
		t.Errorf("%s … %s, %d bytes of them and %d left out, of %d", messages[0], messages[len(messages)-1], kept, size, printed)
	}
}

// Whatever a worker prints, what is kept and what is said to be left out are all of it.
func TestALogAccountsForEveryByte(t *testing.T) {
	dir := t.TempDir()
	r := &reporter{bus: event.NewBus(), clock: RealClock{}, redact: newRedactor(), log: newStoredLog(64 << 10)}
	tails := newTails(r, dir)
	var printed int64
	for poll := range 4 { // more than is read at once, and than the log keeps; the last piece ends within a line
		f, err := os.OpenFile(filepath.Join(dir, protocol.StdoutFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for i := range 90_000 {
			fmt.Fprintf(&text, "this is line %d of piece %d\n", i, poll)
		}
		text.WriteString("and half a line")
		if _, err := f.WriteString(text.String()); err != nil {
			t.Fatal(err)
		}
		printed += int64(text.Len())
		tails.poll(poll == 3)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var kept, left int64
	var notes []string
	for line := range strings.Lines(string(r.log.encode())) {
		var e event.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		var n int64
		if _, err := fmt.Sscanf(e.Message, "… %d bytes", &n); err == nil {
			left += n
			notes = append(notes, e.Message)
		} else {
			kept += int64(len(e.Message)) + 1
		}
	}
	kept-- // the last line has no end
	if kept+left != printed {
		t.Errorf("%d bytes are kept and %d said to be left out, of %d: %q", kept, left, printed, notes)
	}
	if len(notes) != 1 {
		t.Errorf("it is said %d times: %q", len(notes), notes)
	}
}

func TestANumberThatJSONCannotHoldIsSaidOtherwise(t *testing.T) {
	l := newStoredLog(1000)
	l.add(event.Event{Type: event.Metric, Name: "loss", Value: math.NaN()}, 0)
	if text := string(l.encode()); !strings.Contains(text, "loss") || !strings.Contains(text, "NaN") {
		t.Errorf("kept %q", text)
	}
}

func TestTheLinesOfAGrowingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stdout")
	tail := &lineTail{path: path}
	var got []string
	poll := func(end bool) {
		t.Helper()
		if err := tail.poll(end, func(p piece) { got = append(got, p.text) }); err != nil {
			t.Fatal(err)
		}
	}
	write := func(s string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	poll(false) // not there yet
	write("one\ntw")
	poll(false)
	write("o\n\n10%\r50%\r100%\n\xff\r\nlast")
	poll(false)
	poll(true)
	// The reporter makes valid UTF-8 of it, when secrets are out.
	want := []string{"one", "two", "", "100%", "\xff", "last"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAFloodIsReadAtBothEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stdout")
	var text strings.Builder
	for i := range 400_000 {
		fmt.Fprintf(&text, "line %d\n", i)
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []string
	size, all := 0, int64(0)
	tail := &lineTail{path: path}
	if err := tail.poll(true, func(p piece) { got = append(got, p.text); size += len(p.text) + 1; all += p.bytes }); err != nil {
		t.Fatal(err)
	}
	if got[0] != "line 0" || got[len(got)-1] != "line 399999" || size > maxRead+100 {
		t.Errorf("%q … %q, %d bytes", got[0], got[len(got)-1], size)
	}
	if all != int64(text.Len()) {
		t.Errorf("%d bytes are told of %d", all, text.Len())
	}
	for _, s := range got {
		if !strings.HasPrefix(s, "line ") && s != "" { // what was left out
			t.Errorf("half a line: %q", s)
		}
	}
}

func TestALineWithoutEndIsCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stdout")
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 900_000)+"\nnext\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := (&lineTail{path: path}).poll(true, func(p piece) { got = append(got, p.text) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || len(got[0]) != maxText+slack || got[1] != "next" || len(cutText(got[0])) > maxText+20 {
		t.Errorf("%d lines, the first of %d bytes", len(got), len(got[0]))
	}
}
