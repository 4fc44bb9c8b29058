package protocol

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// fuzzMessage: what decodes comes back equal through its own encoding, and what is refused names what is wrong.
func fuzzMessage[T any](f *testing.F, name string, decode func([]byte) (T, error)) {
	for _, v := range vectors(f, name) {
		f.Add([]byte(v.Text))
	}
	f.Add([]byte(`{"protocol":1,"labels":{},"metrics":{}}`))
	f.Add([]byte(`{"protocol":1,"type":"log","time":-Infinity,"message":"\\u0000NaN","metrics":{"a":NaN}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := decode(text)
		if err != nil {
			if err.Error() == "" || len(err.Error()) > 4096+len(text) {
				t.Fatalf("%d bytes about %d: %.300s", len(err.Error()), len(text), err)
			}
			return
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatalf("%+v cannot be written: %v", got, err)
		}
		back, err := decode(again)
		if err != nil {
			t.Fatalf("%s does not decode: %v", again, err)
		}
		// Compared as texts: an empty map and none are the same.
		if text, err := json.Marshal(back); err != nil || !bytes.Equal(text, again) {
			t.Fatalf("%s comes back as %s (%v)", again, text, err)
		}
	})
}

func FuzzEvent(f *testing.F) { fuzzMessage(f, "events", DecodeEvent) }

func FuzzResult(f *testing.F) { fuzzMessage(f, "results", DecodeResult) }

func FuzzRequest(f *testing.F) { fuzzMessage(f, "requests", DecodeRequest) }

// FuzzTail: a file of events says the same whether it is read at once or while it grows, and every line of it is told.
func FuzzTail(f *testing.F) {
	f.Add([]byte(message("a")+"\n"+message("b")+"\n"), uint16(5), uint16(40))
	f.Add([]byte("Loading: 100%\n\x00\xff\n\n"+message("a")), uint16(14), uint16(15))
	f.Add([]byte("\r\n"+message("é")+"\r\n"), uint16(0), uint16(30))
	f.Fuzz(func(t *testing.T, text []byte, first, second uint16) {
		a, b := min(int(first), len(text)), min(int(second), len(text))
		cuts := []int{min(a, b), max(a, b), len(text)}
		whole, grown := newTailed(t), newTailed(t)
		whole.write(string(text))
		from := 0
		for _, cut := range cuts {
			grown.write(string(text[from:cut]))
			from = cut
			if err := grown.tail.Poll(grown.each); err != nil {
				t.Fatal(err)
			}
			if last := strings.LastIndexByte(string(text[:cut]), '\n') + 1; grown.tail.Offset() != int64(last) {
				t.Fatalf("the offset is %d, and the last line ends at %d", grown.tail.Offset(), last)
			}
		}
		for _, d := range []*tailed{whole, grown} {
			if err := d.tail.End(d.each); err != nil {
				t.Fatal(err)
			}
		}
		lines := strings.Count(string(text), "\n")
		if len(text) > 0 && text[len(text)-1] != '\n' {
			lines++
		}
		if !slices.Equal(whole.said, grown.said) || len(whole.said) != lines {
			t.Fatalf("%d lines: read at once they say %q, while they grow %q", lines, whole.said, grown.said)
		}
		if st, err := os.Stat(whole.name); err != nil || st.Size() != int64(len(text)) {
			t.Fatalf("the file was changed: %v", err)
		}
	})
}
