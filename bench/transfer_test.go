package main

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
)

// benchHere has a program of tinfra and the one around minio-go, and no other tool.
func benchHere(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "tinfra")
	if out, err := exec.Command("go", "build", "-o", program, "../cmd/tinfra").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	m, err := newMeter(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{ctx: t.Context(), dir: filepath.Join(dir, "work"), scale: 0.002, meter: m, workshop: workshop{dir: dir}}
	plain, err := b.workshop.plain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.tools = toolbox{programs: map[string]string{"tinfra": program, "minio-go": plain}}
	t.Cleanup(b.clear)
	return b
}

// TestRowsOfTheBucket: each row does with the real program and a real server what it says, and leaves neither server nor files.
func TestRowsOfTheBucket(t *testing.T) {
	b := benchHere(t)
	rows := append(transferRows(b), warmRows(b)...)
	for _, r := range append(rows, shareRows(b)[1]) {
		r.Rounds = 1
		if strings.HasSuffix(r.Name, ", small") {
			r.Rounds = 2 // what the first one leaves is in the way of none
		}
		samples, err := b.rounds(r, func(string) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		for tool, all := range samples {
			for _, s := range all {
				if pushes := strings.HasPrefix(r.Name, "push, ") || strings.HasPrefix(r.Name, "share, "); pushes != (s.Stored > 0) {
					t.Errorf("%s: %s has stored %d bytes", r.Name, tool, s.Stored)
				}
				if warm := r.Name == "warm plan"; warm != (s.Requests > 0) {
					t.Errorf("%s: %s has asked %d times", r.Name, tool, s.Requests)
				}
			}
		}
		if want := strings.Count(r.Name, ", large") + 1; len(samples) != want {
			t.Errorf("%s: %d tools", r.Name, len(samples))
		}
		if left, err := filepath.Glob(filepath.Join(b.dir, "*")); b.minio != nil || err != nil || len(left) > 0 {
			t.Errorf("%s leaves a server (%v) and %v, %v", r.Name, b.minio, left, err)
		}
	}
}

// TestCargoThatDidNotComeIsSeen: a pull that brings less than all is no pull.
func TestCargoThatDidNotComeIsSeen(t *testing.T) {
	c, dir := heap(files{2, 1 << 10}), t.TempDir()
	if err := c.write(nil, dir); err != nil {
		t.Fatal(err)
	}
	if err := c.whole(dir); err != nil {
		t.Error(err)
	}
	c.bytes++
	if err := c.whole(dir); err == nil {
		t.Error("a byte lacks, and nobody says so")
	}
}

// TestBucketBehindADelay: requests are counted and pass as they are, signature and all.
func TestBucketBehindADelay(t *testing.T) {
	s, err := startMinIO(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	far, err := delay(s.at.endpoint, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer far.server.Close()
	client, err := bucketAt{far.server.URL, ""}.client()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutObject(t.Context(), bucketName, "a/b", strings.NewReader("12345"), 5, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := far.requests.Load(); got != 1 {
		t.Errorf("%d requests", got)
	}
	if got, err := s.at.stored(t.Context()); got != 5 || err != nil {
		t.Errorf("%d bytes are stored, %v", got, err)
	}
	s.end()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.at.endpoint, nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := http.DefaultClient.Do(request); err == nil {
		answer.Body.Close()
		t.Error("an ended server answers")
	}
}
