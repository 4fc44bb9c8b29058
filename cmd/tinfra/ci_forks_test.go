package main

import (
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
)

// A pull request from a fork has no secrets: its job uses what main has built where everybody may read that, makes the rest, and asks the
// bucket for no change.
func TestGuideOnGitHubFromAFork(t *testing.T) {
	var flow githubFlow
	ciFile(t, ".github/workflows/models.yml", &flow)
	c := newCIScene(t)
	c.github(&flow, "main", "main", c.values("", true), ignore).well()
	publish(t, c.server, c.bucket, "team-a")
	before := len(writes(c.proxy))
	if fork := c.github(&flow, "pull-request", "fork", c.values("13", false), ignore); fork.failed || !strings.Contains(fork.said, "3 hit") {
		t.Errorf("the job:\n%s", fork.said)
	}
	c.ranOnce("make", "upper", "score")
	if got := read1(filepath.Join(c.dir, "tokenizer", "text.txt")); got != "HELLO" {
		t.Errorf("the output is %q", got)
	}
	c.write(ciRecipePath, strings.Replace(ciRecipe, "value = 3", "value = 2", 1))
	if fork := c.github(&flow, "pull-request", "changed", c.values("13", false), ignore); fork.failed || !strings.Contains(fork.said, "2 hit, 1 ran") {
		t.Errorf("the job:\n%s", fork.said)
	}
	if more := writes(c.proxy)[before:]; len(more) > 0 {
		t.Errorf("the bucket was asked for changes: %q", more)
	}
}

// gitlab runs a job: the scripts before and of it in one shell, the one after it in another.
func (c *ciScene) gitlab(flow *gitlabFlow, job *gitlabJob, home string, variables map[string]string) *ciJob {
	c.t.Helper()
	iid := variables["CI_MERGE_REQUEST_IID"]
	own := map[string]string{}
	for name, value := range job.Variables {
		own[name] = strings.ReplaceAll(value, "$CI_MERGE_REQUEST_IID", iid)
	}
	j := c.job(home, flow.Variables, own, variables)
	j.sh(c.script(flow.Default.Before)+c.script(job.Script), "-eo", "pipefail")
	failed := j.failed
	j.failed = false
	j.sh(c.script(flow.Default.After), "-eo", "pipefail")
	if j.failed {
		c.t.Errorf("what is done after the job fails:\n%s", j.said)
	}
	j.failed = failed
	return j
}

// script is those of the lines that are no installation.
func (c *ciScene) script(lines []string) string {
	c.t.Helper()
	var out strings.Builder
	for _, line := range lines {
		if !installs(c.t, line) {
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

// The guide's jobs on GitLab do the same as those on GitHub.
func TestGuideOnGitLab(t *testing.T) {
	var flow gitlabFlow
	ciFile(t, ".gitlab-ci.yml", &flow)
	c := newCIScene(t)
	c.gitlab(&flow, &flow.Main, "main", c.secrets).well()
	c.ranOnce("make", "upper", "score")
	c.confine("pr-7")
	before := len(c.proxy.Seen())
	variables := map[string]string{"CI_MERGE_REQUEST_IID": "7"}
	for name, value := range c.secrets {
		variables[name] = value
	}
	c.gitlab(&flow, &flow.Merge, "merge", variables).well()
	c.ranOnce("make", "upper", "score")
	if trees, packs := c.contents(before); len(trees) != 1 || len(packs) != 1 {
		t.Errorf("it asked for the trees %q and their packs %q", trees, packs)
	}
	for _, pattern := range []string{"report/*.html", "logs/build.txt"} {
		if found, err := filepath.Glob(filepath.Join(c.dir, pattern)); err != nil || len(found) != 1 {
			t.Errorf("the artifacts %s are %q (%v)", pattern, found, err)
		}
	}
	publish(t, c.server, c.bucket, "team-a")
	before = len(writes(c.proxy))
	c.gitlab(&flow, &flow.Merge, "fork", map[string]string{"CI_MERGE_REQUEST_IID": "8"}).well()
	c.ranOnce("make", "upper", "score")
	if more := writes(c.proxy)[before:]; len(more) > 0 {
		t.Errorf("a fork's job asked the bucket for changes: %q", more)
	}
}

// The parts of jobs that the guide shows beside are what it says of them.
func TestGuideWithoutSecrets(t *testing.T) {
	var github, gitlab int
	c := newCIScene(t)
	for _, f := range ciGuide(t) {
		if f.lang != "yaml" || f.file != "" {
			continue
		}
		if strings.HasPrefix(f.lines[0], "permissions:") {
			var part struct {
				Permissions map[string]string
				Steps       []githubStep
			}
			decodeYAML(t, f, &part)
			github += len(part.Steps)
			if part.Permissions["id-token"] != "write" {
				t.Error("the job may not ask for a token")
			}
			continue
		}
		var part struct{ Main gitlabJob }
		decodeYAML(t, f, &part)
		job := c.job("oidc", part.Main.Variables, c.secrets, map[string]string{"AWS_TOKEN": "the token", "TMPDIR": t.TempDir()})
		job.sh(c.script(part.Main.Before)+`printf ' is %s' "$(cat "$AWS_WEB_IDENTITY_TOKEN_FILE")"`, "-eo", "pipefail")
		job.well()
		if !strings.HasSuffix(job.said, " is the token") {
			t.Errorf("the token is not where it is looked for:\n%s", job.said)
		}
		gitlab += len(part.Main.Before)
	}
	if github != 2 || gitlab != 6 {
		t.Errorf("the guide shows %d steps and %d lines", github, gitlab)
	}
}

// What the guide says of machines that may not write.
func TestBuildThatMayNotWrite(t *testing.T) {
	s := s3test.MinIO(t)
	f := s3test.Proxy(t, s)
	n := newNeighbours(t, s, f.Endpoint, s.Bucket(t))
	n.on("one", "build").well()
	f.On(s3test.Method(http.MethodPut, http.MethodPost, http.MethodDelete), 0, s3test.Answer(http.StatusForbidden, "AccessDenied", nil))
	if said := n.on("two", "build").ends(exitCache); !strings.Contains(said, "refuses") || !strings.Contains(said, "read_only = true") {
		t.Errorf("it does not say why:\n%s", said)
	}
	n.with("two", []string{n.reading("")}, "build").well()
	n.with("two", []string{n.reading("")}, "doctor").well()
	n.on("three", "plan").well()
	n.on("three", "why", "upper.loud").well()
	n.on("three", "show", "upper.loud").well()
	n.on("three", "get", "upper.loud", "-o", filepath.Join(n.dir, "out")).well()
	n.with("four", []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="}, "build").ends(exitCache)
	n.ranOnce(victimKinds...)
	n.on("four", "build", "--remote", "none").well()
}

// The guide names real things: the recipe and its output, the version of Go that go.mod asks for, actions with their versions.
func TestGuideToCINamesWhatIsThere(t *testing.T) {
	if text := read1(filepath.Join("..", "..", ciRecipePath)); !strings.Contains(text, `output "tokenizer"`) {
		t.Error("the guide's recipe has no such output")
	}
	needs := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read1(filepath.Join("..", "..", "go.mod")))[1]
	var flow githubFlow
	ciFile(t, ".github/workflows/models.yml", &flow)
	if len(flow.Jobs) != 2 {
		t.Errorf("there are %d jobs", len(flow.Jobs))
	}
	action := regexp.MustCompile(`^[\w-]+/[\w-]+@v\d+$`)
	for name, job := range flow.Jobs {
		for _, step := range job.Steps {
			if (step.Run == "") == (step.Uses == "") || step.Uses != "" && !action.MatchString(step.Uses) {
				t.Errorf("%s: a step of %q and %q", name, step.Uses, step.Run)
			}
			if step.If != "" && step.If != "failure()" {
				t.Errorf("%s: nobody knows the condition %q", name, step.If)
			}
			if v, there := step.With["go-version"]; there && v != needs {
				t.Errorf("%s has Go %v, and go.mod asks for %s", name, v, needs)
			}
		}
	}
	var other gitlabFlow
	ciFile(t, ".gitlab-ci.yml", &other)
	if other.Default.Image != "golang:"+needs {
		t.Errorf("GitLab's image is %s, and go.mod asks for %s", other.Default.Image, needs)
	}
}
