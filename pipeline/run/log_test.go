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
)

func TestALongLogKeepsBothEnds(t *testing.T) {
	l := newStoredLog(10_000)
	for i := range 10_000 {
		l.add(event.Event{Type: event.Log, Message: fmt.Sprintf("line %d", i)})
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
	var dropped, size int
	note := slices.IndexFunc(messages, func(s string) bool { return strings.Contains(s, "left out") })
	if _, err := fmt.Sscanf(messages[note], "%d lines (%d bytes)", &dropped, &size); err != nil {
		t.Fatal(err)
	}
	if messages[0] != "line 0" || messages[len(messages)-1] != "line 9999" || dropped+len(messages)-1 != 10_000 {
		t.Errorf("%s … %s, %d of them and %d left out", messages[0], messages[len(messages)-1], len(messages)-1, dropped)
	}
}

func TestANumberThatJSONCannotHoldIsSaidOtherwise(t *testing.T) {
	l := newStoredLog(1000)
	l.add(event.Event{Type: event.Metric, Name: "loss", Value: math.NaN()})
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
		if err := tail.poll(end, func(s string) { got = append(got, s) }); err != nil {
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
	size := 0
	tail := &lineTail{path: path}
	if err := tail.poll(true, func(s string) { got = append(got, s); size += len(s) + 1 }); err != nil {
		t.Fatal(err)
	}
	if got[0] != "line 0" || got[len(got)-1] != "line 399999" || size > maxRead+100 {
		t.Errorf("%q … %q, %d bytes", got[0], got[len(got)-1], size)
	}
	for _, s := range got {
		if !strings.HasPrefix(s, "line ") && !strings.Contains(s, "left out") {
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
	if err := (&lineTail{path: path}).poll(true, func(s string) { got = append(got, s) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || len(got[0]) != maxText+slack || got[1] != "next" || len(cutText(got[0])) > maxText+20 {
		t.Errorf("%d lines, the first of %d bytes", len(got), len(got[0]))
	}
}
