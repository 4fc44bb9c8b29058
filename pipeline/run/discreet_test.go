package run

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// As another user than root this fails where it is not made readable first.
func TestAnOutputThatNobodyMayReadIsSearchedAllTheSame(t *testing.T) {
	ws := t.TempDir()
	b := &builder{redact: newRedactor()}
	b.redact.add("hf_abcdefgh")
	dir := filepath.Join(ws, "out", "files", "d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("nothing"), 0o200); err != nil {
		t.Fatal(err)
	}
	if err := b.discreet(ws, &recipe.Stage{Secrets: map[string]recipe.SecretRef{"token": {}}}); err != nil {
		t.Error(err)
	}
}

// A proxy's password is hidden; that a recipe has the same word is no reason to refuse it.
func TestAProxysPasswordRefusesNothing(t *testing.T) {
	b := &builder{redact: newRedactor(), o: Options{Environ: []string{"HTTPS_PROXY=http://me:password@proxy:3128"}}}
	b.learn()
	if b.redact.holds("the password") || b.redact.clean("the password") != "the ***" {
		t.Errorf("%t, %q", b.redact.holds("the password"), b.redact.clean("the password"))
	}
}
