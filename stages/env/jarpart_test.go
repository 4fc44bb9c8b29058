package env

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// parts are the names in the folder of jars that are on their way.
func parts(t *testing.T, s *Set) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(s.cache, "tools", "jars", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// theOnlyNative is the declared part of a nativeSet.
func theOnlyNative(t *testing.T, s *Set) native {
	t.Helper()
	d, err := s.declaration("tiny")
	if err != nil || len(d.Natives) != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	return d.Natives[0]
}

func TestAnInstallGoesOnWithTheJarOfOneThatWasEnded(t *testing.T) {
	jar, cache := jarOf(t), t.TempDir()
	f := &flaky{body: jar, cuts: []int{300}, ranges: true}
	server := httptest.NewServer(f)
	defer server.Close()
	ended := errors.New("the person pressed Ctrl-C")
	ctx, cancel := context.WithCancelCause(t.Context())
	first := nativeSet(t, cache, nativeBlock(t, jar), server.URL)
	_, err := first.Install(ctx, "tiny", func(line string) {
		if strings.Contains(line, "asking for the rest") {
			cancel(ended)
		}
	})
	if !errors.Is(err, ended) || len(parts(t, first)) != 1 {
		t.Fatalf("%v, %q", err, parts(t, first))
	}
	onlyEnvironments(t, cache)
	second := nativeSet(t, cache, nativeBlock(t, jar), server.URL)
	if _, err := second.Install(t.Context(), "tiny", nil); err != nil {
		t.Fatal(err)
	}
	if want := []string{"", "bytes=300-"}; !slices.Equal(f.asked, want) {
		t.Errorf("asked for %q, want %q", f.asked, want)
	}
	if left := parts(t, second); len(left) > 0 {
		t.Errorf("%q was left", left)
	}
}

func TestAPartOfAnotherJarIsBroughtAnew(t *testing.T) {
	jar := jarOf(t)
	for name, left := range map[string][]byte{
		"half of another": bytes.Repeat([]byte("x"), len(jar)/2), "as much of another": bytes.Repeat([]byte("x"), len(jar)), "more": append(slices.Clone(jar), 'x'),
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(&flaky{body: jar, ranges: true})
			defer server.Close()
			s := nativeSet(t, t.TempDir(), nativeBlock(t, jar), server.URL)
			at := s.jarPart(theOnlyNative(t, s))
			if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, left, 0o644)); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Install(t.Context(), "tiny", nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAServerThatRefusesToBeginInTheMiddle(t *testing.T) {
	jar := jarOf(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		_, _ = w.Write(jar)
	}))
	defer server.Close()
	s := nativeSet(t, t.TempDir(), nativeBlock(t, jar), server.URL)
	at := s.jarPart(theOnlyNative(t, s))
	if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, jar[:300], 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Install(t.Context(), "tiny", nil); err != nil {
		t.Error(err)
	}
}

// A repository that cannot serve is noticed before packages are brought, and the message says who named it.
func TestNativePartsComeFirst(t *testing.T) {
	jar := jarOf(t)
	server := httptest.NewServer(&flaky{body: []byte("please log in")})
	defer server.Close()
	for at, says := range map[string]string{
		filepath.Join(t.TempDir(), "nowhere"): "no such file",
		server.URL + "/r?token=abc":           "what is there has 13 bytes",
	} {
		var said []string
		_, err := nativeSet(t, t.TempDir(), nativeBlock(t, jar), at).Install(t.Context(), "tiny", func(line string) { said = append(said, line) })
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), MavenVariable) || strings.Contains(err.Error(), "abc") {
			t.Errorf("%v", err)
		}
		if i := slices.IndexFunc(said, func(line string) bool { return strings.Contains(line, "packages") }); i >= 0 {
			t.Errorf("before that: %q", said)
		}
	}
}

func TestSweep(t *testing.T) {
	jar := jarOf(t)
	s := nativeSet(t, t.TempDir(), nativeBlock(t, jar), "")
	n := theOnlyNative(t, s)
	part, release, err := s.holdJar(t.Context(), n, nil)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(s.cache, "env", packPrefix+"1")
	if err := errors.Join(os.MkdirAll(left, 0o755), os.WriteFile(part, jar, 0o644), os.MkdirAll(filepath.Join(part+mavenSuffix, "org"), 0o755)); err != nil {
		t.Fatal(err)
	}
	s.Sweep()
	if len(parts(t, s)) != 2 {
		t.Error("a jar was removed that somebody brings")
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a pack left: %v", err)
	}
	release()
	s.Sweep()
	if all := parts(t, s); len(all) > 0 {
		t.Errorf("%q was left", all)
	}
}
