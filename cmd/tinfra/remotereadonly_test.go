package main

import (
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
)

// reading is the variable of a machine that only reads the neighbours' bucket; rest are further settings.
func (n *neighbours) reading(rest string) string {
	return n.common[len(n.common)-1] + "&read_only=true" + rest
}

// publish gives a bucket the policy that the guide to CI shows, for names of this folder.
func publish(t *testing.T, s *s3test.Server, bucket, folder string) {
	t.Helper()
	for _, f := range ciGuide(t) {
		if f.lang == "json" {
			s.Permit(t, bucket, strings.NewReplacer(":::models", ":::"+bucket, "team-a", folder).Replace(strings.Join(f.lines, "\n")))
			return
		}
	}
	t.Fatal("the guide shows no policy")
}

// writes are the requests that ask for a change.
func writes(f *s3test.Faults) (all []string) {
	for _, r := range f.Seen() {
		if method, _, _ := strings.Cut(r, " "); method != http.MethodGet && method != http.MethodHead {
			all = append(all, r)
		}
	}
	return all
}

// Machines whose credentials may only read, or that have none where everybody may read, build: they take what is there, make the rest, and
// ask for no change. MinIO itself refuses writes here.
func TestReadOnly(t *testing.T) {
	s := s3test.MinIO(t)
	f := s3test.Proxy(t, s)
	n := newNeighbours(t, s, f.Endpoint, s.Bucket(t))
	publish(t, s, n.bucket, "*")
	none := []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="}
	reader := append(none, n.reading(""))
	if said := n.with("early", reader, "build").ends(exitCache); !strings.Contains(said, "not from here") {
		t.Errorf("nobody has begun a shared cache, and it says\n%s", said)
	}
	n.on("one", "build").well()
	n.with("early", none, "build").ends(exitCache) // nothing says that it only reads
	before := len(writes(f))

	for _, args := range [][]string{{"doctor"}, {"plan"}, {"build"}, {"build"}, {"get", "upper.loud", "-o", filepath.Join(n.dir, "out")}} {
		n.with("two", reader, args...).well()
	}
	if text := read1(filepath.Join(n.dir, "out", "data.txt")); text != "SOME DATA\n" {
		t.Errorf("it has got %q", text)
	}
	n.ranOnce(victimKinds...)
	n.with("two", reader, "lineage", "up", "upper.loud").well() // what was found is kept
	if said := n.with("two", reader, "build", "--set", `upper.loud.suffix="?"`).ends(exitOK); !strings.Contains(said, "1 ran") {
		t.Errorf("what is new was not made:\n%s", said)
	}
	ran := n.runs()
	if said := n.with("two", reader, "build", "--set", `upper.loud.suffix="?"`).ends(exitOK); !strings.Contains(said, ": 3 hit") || !maps.Equal(ran, n.runs()) {
		t.Errorf("what was made here is made again:\n%s", said)
	}
	for _, args := range [][]string{{"cache", "push"}, {"cache", "push", "--all"}, {"cache", "verify", "--remote", "--repair"}} {
		if said := n.with("two", reader, args...).ends(exitUsage); !strings.Contains(said, "read_only") {
			t.Errorf("%q does not say why:\n%s", args, said)
		}
	}
	n.with("two", reader, "cache", "verify", "--remote").well()
	n.with("two", reader, "cache", "pull").well()
	n.sound("two")
	n.with("three", append(none, n.reading("&tier=mine&reads=main")), "build").well() // its own tier is nobody's yet
	if more := writes(f)[before:]; len(more) > 0 {
		t.Errorf("changes were asked for: %q", more)
	}
}

// What a build has kept to itself while it was told to only read, it shares when that is not so any more.
func TestReadOnlyAndThenNot(t *testing.T) {
	s := s3test.Versity(t)
	n := newNeighbours(t, s, s.Endpoint, s.Bucket(t))
	n.on("one", "build", "--set", `upper.loud.suffix="?"`).well()
	for range 3 {
		n.with("two", []string{n.reading("")}, "build").well()
	}
	if said := n.on("three", "plan").ends(exitOK); strings.Contains(said, "3 cached") {
		t.Error("a machine that only reads has shared what it has made")
	}
	n.on("two", "build").well()
	n.hits("three")
}
