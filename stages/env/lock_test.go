package env

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	hashA = "--hash=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hashB = "--hash=sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestNormaliseIsOneSpelling(t *testing.T) {
	want := []string{
		"ruamel-yaml==1.0 " + hashA,
		"six==1.17.0 ; sys_platform == 'win32' " + hashA + " " + hashB,
	}
	for _, text := range []string{
		"six==1.17.0 ; sys_platform == 'win32' \\\n    " + hashB + " \\\n    " + hashA + "\n    # via a\nruamel.yaml==1.0 \\\n " + hashA + "\n",
		"# a lock\r\n\r\nRuamel_YAML == 1.0 " + hashA + " # via b\r\nsix==1.17.0;sys_platform == 'win32' " + hashA + " \\\r\n " + hashB + " " + hashB + "\r\n",
	} {
		got, err := normalise(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q gives %q (%v)", text, got, err)
		}
	}
}

func TestNormaliseRefusesWhatIsNotPinned(t *testing.T) {
	for text, want := range map[string]string{
		"six==1.17.0":                                  "line 1: six==1.17.0 has no --hash",
		"\nsix>=1 " + hashA:                            "line 2: \"six>=1\" is not of the form",
		"--index-url https://example.org\n":            "no options",
		"-r other.txt":                                 "no options",
		"six @ https://example.org/six.whl " + hashA:   "not of the form",
		"six==1.17.0 --hash=md5:aa":                    "no options",
		"six==1 " + hashA + " \\":                      "goes on after the end",
		"six==1 " + hashA + "\nsix==1 " + hashA:        "twice",
		"six==1.* " + hashA:                            "not of the form",
		"six== " + hashA + "\nseven==7\n--pre\neight=": "line 4",
	} {
		if _, err := normalise(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, which does not say %q", text, err, want)
		}
	}
}

// TestShippedLocks holds the locks in this folder to the rules, the tests' own ones and uv's among them.
func TestShippedLocks(t *testing.T) {
	locks, _ := filepath.Glob("*/*.lock")
	if len(locks) < 2 {
		t.Fatalf("only %q", locks)
	}
	for _, name := range append(locks, uvLock) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := normalise(string(text)); err != nil || len(got) == 0 {
			t.Errorf("%s: %d packages, %v", name, len(got), err)
		}
		if strings.Contains(string(text), "://") {
			t.Errorf("%s holds an address", name)
		}
	}
	declared, _ := filepath.Glob("*/" + declarationFile)
	for _, name := range declared {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode(text, name); err != nil {
			t.Error(err)
		}
	}
}

func TestDeclarationsThatAreWrong(t *testing.T) {
	for text, want := range map[string]string{
		`doc = "x"`:                               "python",
		"doc = \"x\"\npython = []":                "a version at least",
		"doc = \"x\"\npython = [\"3.11.2\"]":      "not a minor version",
		"doc = \"x\"\npython = [\"3\"]":           "not a minor version",
		"doc = \"x\"\npython = [\"3.11\"]\nx = 1": `"x"`,
		"doc = ": "Missing expression",
	} {
		if _, err := decode([]byte(text), "env.hcl"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, which does not say %q", text, err, want)
		}
	}
}

// A line that goes on and on is put together once: this took a minute when each part was added to the whole.
func TestNormaliseALongLine(t *testing.T) {
	begun := time.Now()
	if _, err := normalise("six==1 " + hashA + strings.Repeat(" \\\n", 200_000) + hashB); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}

func FuzzNormalise(f *testing.F) {
	f.Add("six==1.17.0 ; sys_platform == 'win32' \\\n    " + hashB + " \\\n    " + hashA + "\n    # via a\n")
	f.Add("a[b,c]==1!2.0+x " + hashA + "\r\n--index-url x")
	f.Fuzz(func(t *testing.T, text string) {
		lock, err := normalise(text)
		if err != nil {
			return
		}
		again, err := normalise(strings.Join(lock, "\n"))
		if err != nil || !slices.Equal(lock, again) {
			t.Fatalf("%q becomes %q (%v)", lock, again, err)
		}
	})
}
