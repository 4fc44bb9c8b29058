package run_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

const tokenSecret = `
secret "token" {
  env = "HF_TOKEN"
  doc = "x"
}
`

const tokenStage = `stage "hub" "a" { token = secret("MY_TOKEN") }` + "\n"

// withToken is a bench with a stage that takes the secret, and this worker.
func withToken(t *testing.T, value, worker string) *bench {
	b := newBench(t, kinds{
		"hub": {tokenSecret, worker},
		"cmd": {"native = true\n" + `
param "command" {
  type = list(string)
  doc  = "x"
}
param "env" {
  type    = list(string)
  default = []
  environ = true
  doc     = "x"
}
`, ""},
	}, tokenStage)
	b.options.Environ = append(os.Environ(), "MY_TOKEN="+value)
	b.options.Clock = &instant{}
	return b
}

// exposes is a build that is refused since it would store a secret, and stores nothing at all.
func (b *bench) exposes(secret string, says ...string) {
	b.t.Helper()
	made, err := b.execute(b.t.Context(), b.makePlan())
	var failed *run.Error
	if !errors.As(err, &failed) || failed.Exit != run.ExitRecipe {
		b.t.Fatalf("ended with %v", err)
	}
	for _, s := range append(says, "Secret in what is stored") {
		if !strings.Contains(err.Error(), s) {
			b.t.Errorf("%v does not say %q", err, s)
		}
	}
	if _, err := b.cache.Build(b.t.Context(), made.ID); !errors.Is(err, artifacts.ErrMissing) {
		b.t.Errorf("the build is stored, or: %v", err)
	}
	if strings.Contains(err.Error()+b.seen.text(), secret) {
		b.t.Errorf("it says the secret: %v\n%s", err, b.seen.text())
	}
	if blobs, err := os.ReadDir(filepath.Join(b.dir, "cache", "blobs", "sha256")); err != nil || len(blobs) > 0 {
		b.t.Errorf("%d blobs are stored, %v", len(blobs), err)
	}
}

func TestASecretInWhatIsStoredIsRefused(t *testing.T) {
	const canary = `cn4ry"value+x`
	t.Run("recipe", func(t *testing.T) {
		b := withToken(t, canary, hello)
		b.recipe += `# cn4ry"value+x` + "\n"
		b.exposes(canary, "The recipe")
	})
	t.Run("variable", func(t *testing.T) {
		b := withToken(t, canary, hello)
		b.recipe += "variable \"x\" {\n  type = string\n}\n"
		b.vars = map[string]string{"x": canary}
		b.exposes(canary, "The variable x")
	})
	t.Run("environment of a command", func(t *testing.T) {
		b := withToken(t, canary, hello)
		b.recipe += `stage "cmd" "b" {
  command = ["sh", "-c", "echo x > out/files/x"]
  env     = ["MY_TOKEN"]
}
`
		t.Setenv("MY_TOKEN", canary)
		b.exposes(canary, "A param of cmd.b")
	})
	t.Run("short ones stand there by chance", func(t *testing.T) {
		b := withToken(t, "token", hello)
		if got := b.ok(); got["hub.a"].State != artifacts.Ran {
			t.Errorf("state %s", got["hub.a"].State)
		}
	})
}

func TestASecretInAnOutputIsRefused(t *testing.T) {
	const canary = "cn4ry/value+x"
	for name, c := range map[string]struct{ worker, says string }{
		"content": {`printf '{"token": "%s"}' "$HF_TOKEN" > out/files/config.json`, "wrote a secret into out/files/config.json"},
		"base64":  {`printf 'me:%s' "$HF_TOKEN" | base64 > out/files/auth`, "wrote a secret into out/files/auth"},
		"name":    {`echo x > "out/files/$(printf %s "$HF_TOKEN" | base64)"`, "the name of out/files/***"},
	} {
		t.Run(name, func(t *testing.T) {
			b := withToken(t, canary, c.worker+done)
			b.fails(run.ExitStage, c.says)
			b.searchCache(canary, "Y240cnkvdm")
		})
	}
	b := withToken(t, canary, `head -c 2000000 /dev/zero > out/files/weights; printf %s "$HF_TOKEN" | tail -c 5 > out/files/part`+done)
	b.ok()
}

func TestASecretThatCannotBeHiddenIsRefused(t *testing.T) {
	withToken(t, " abc\n", hello).fails(run.ExitRecipe, "r.hcl:1: Secret is too short", "MY_TOKEN")
	withToken(t, "", hello).ok() // there is nothing to hide
}

// A worker may come by what another stage was given, and says it before that one starts.
func TestASecretOfAnotherStageIsHiddenToo(t *testing.T) {
	b := withToken(t, "cn4ry-value", hello)
	b.kinds["early"] = kind{"", `echo "found cn4ry-value"` + "\n" + hello}
	b.recipe = "stage \"early\" \"x\" {}\n" + tokenStage
	b.options.Jobs = 1
	if got := b.log(b.ok()["early.x"]); !strings.Contains(got, "found ***") {
		t.Errorf("log %s", got)
	}
}

// Passwords for proxies and indexes are no secrets of a recipe, and workers with a network know them.
func TestPasswordsOfTheNetworkAreHidden(t *testing.T) {
	b := newBench(t, kinds{"net": {"network = true\n", "env\n" + hello}}, `stage "net" "a" {}`)
	b.options.Environ = append(os.Environ(), "https_proxy=http://me:pr0xy%2Fcn4ry@host:3128",
		"PIP_EXTRA_INDEX_URL=https://a/ https://me:p1p-cn4ry@b/", "UV_INDEX_MINE_PASSWORD=uv-cn4ry-pw")
	log := b.log(b.ok()["net.a"])
	if !strings.Contains(log, "http://me:***@host:3128") || !strings.Contains(log, "https://me:***@b/") {
		t.Errorf("log %s", log)
	}
	b.searchCache("cn4ry")
}
