package main

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// githubFlow is what the guide uses of GitHub's workflows; another field is a mistake.
type githubFlow struct {
	Name, On, Permissions any
	Env                   map[string]string
	Jobs                  map[string]githubJob
}

type githubJob struct {
	If     string
	RunsOn string `yaml:"runs-on"`
	Env    map[string]string
	Steps  []githubStep
}

type githubStep struct {
	If, Uses, Run string
	With          map[string]any
}

// gitlabFlow is what the guide uses of GitLab's.
type gitlabFlow struct {
	Variables map[string]string
	Default   gitlabDefault
	Main      gitlabJob
	Merge     gitlabJob `yaml:"merge-request"`
}

type gitlabDefault struct {
	Image     string
	Before    []string `yaml:"before_script"`
	After     []string `yaml:"after_script"`
	Artifacts struct {
		When  string
		Paths []string
	}
}

type gitlabJob struct {
	Rules     []struct{ If string }
	Variables map[string]string
	Tokens    map[string]struct{ Aud string } `yaml:"id_tokens"`
	Before    []string                        `yaml:"before_script"`
	Script    []string
}

// ciGuide is docs/guides/ci.md.
func ciGuide(t *testing.T) []fence {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "guides", "ci.md"))
	must(t, err)
	return fences(string(b))
}

// ciFile decodes the fence of this name, strictly.
func ciFile(t *testing.T, name string, into any) {
	t.Helper()
	for _, f := range ciGuide(t) {
		if f.file == name {
			decodeYAML(t, f, into)
			return
		}
	}
	t.Fatalf("the guide has no %s", name)
}

func decodeYAML(t *testing.T, f fence, into any) {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(strings.Join(f.lines, "\n") + "\n"))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", f.file, err)
	}
}

// ciRecipe stands in the place of the guide's recipe: it has the output that the jobs ask for, and figures.
const ciRecipe = `
stage "make" "base" {
  text = "hello"
}
stage "upper" "tokenizer" {
  text = make.base.files
}
stage "score" "int4" {
  text  = upper.tokenizer.text
  value = 3
}
output "tokenizer" {
  value = upper.tokenizer.text
}
report "comparison" {
  row "int4" {
    stages = [upper.tokenizer, score.int4]
  }
}
`

const ciRecipePath = "recipes/smollm2-int4.hcl"

// ciScene is a project with a bucket, for jobs that each have a clean home.
type ciScene struct {
	*neighbours
	server  *s3test.Server
	proxy   *s3test.Faults
	secrets map[string]string
}

func newCIScene(t *testing.T) *ciScene {
	t.Helper()
	s := s3test.MinIO(t)
	f := s3test.Proxy(t, s)
	c := &ciScene{neighbours: newNeighbours(t, s, f.Endpoint, s.Bucket(t)), server: s, proxy: f, secrets: map[string]string{}}
	must(t, os.Mkdir(filepath.Join(c.dir, "recipes"), 0o755))
	c.write(ciRecipePath, ciRecipe)
	for _, pair := range s.Env() {
		name, value, _ := strings.Cut(pair, "=")
		c.secrets[name] = value
	}
	return c
}

// ciJob is a job on a machine that nobody has used before.
type ciJob struct {
	*ciScene
	env     []string
	summary string
	failed  bool
	said    string
}

func (c *ciScene) job(home string, variables ...map[string]string) *ciJob {
	c.t.Helper()
	cache := c.cacheOf(home)
	home = filepath.Join(c.dir, home)
	must(c.t, os.Mkdir(home, 0o755))
	for _, left := range []string{"logs", "report", "tokenizer"} { // a checkout is clean
		must(c.t, os.RemoveAll(filepath.Join(c.dir, left)))
	}
	j := &ciJob{ciScene: c, summary: filepath.Join(home, "summary.md")}
	j.env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME=", "TINFRA_CACHE="+cache, "TINFRA_REMOTE=", "TINFRA_TIER=", "GORACE=atexit_sleep_ms=0",
		"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_SESSION_TOKEN=", "AWS_PROFILE=", "AWS_REGION=", "AWS_DEFAULT_REGION=", "GITHUB_STEP_SUMMARY=")
	for _, vars := range variables {
		for name, value := range vars {
			if name == "TINFRA_REMOTE" {
				value = c.here(value)
			}
			j.env = append(j.env, name+"="+value)
		}
	}
	return j
}

// here is the guide's address with this test's bucket in it.
func (c *ciScene) here(address string) string {
	if address == noRemote {
		return address
	}
	if _, err := recipe.ParseRemote(address); err != nil {
		c.t.Fatalf("%s: %v", address, err)
	}
	return strings.NewReplacer("s3://models/", "s3://"+c.bucket+"/", "https://s3.example.org", c.proxy.Endpoint).Replace(address)
}

// installs are commands that change the machine. They are held against go.mod, and not carried out.
func installs(t *testing.T, line string) bool {
	t.Helper()
	if strings.HasPrefix(line, "go install ") {
		if line != "go install "+modulePath(t)+"/cmd/tinfra@$TINFRA_VERSION" {
			t.Errorf("this does not install tinfra: %s", line)
		}
		return true
	}
	return line == "apt-get update -qq" || line == "apt-get install -y -qq python3-venv"
}

func modulePath(t *testing.T) string {
	t.Helper()
	return regexp.MustCompile(`(?m)^module (\S+)$`).FindStringSubmatch(read1(filepath.Join("..", "..", "go.mod")))[1]
}

// sh carries out a script as GitHub and GitLab do; flags are those of bash.
func (j *ciJob) sh(script string, flags ...string) {
	j.t.Helper()
	cmd := exec.Command("bash", append(flags, "-c", script)...)
	cmd.Dir, cmd.Env = j.dir, j.env
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if cmd.ProcessState == nil {
		j.t.Fatal(err)
	}
	j.said += said.String()
	j.failed = j.failed || !cmd.ProcessState.Success()
}

// well fails the test where a step of the job has failed.
func (j *ciJob) well() {
	j.t.Helper()
	if j.failed {
		j.t.Fatalf("the job failed:\n%s", j.said)
	}
}

// contents are the trees, and the packs of their bytes, that were asked for since so many requests.
func (c *ciScene) contents(since int) (trees, packs []string) {
	for _, r := range c.proxy.Seen()[since:] {
		name, _, _ := strings.Cut(strings.TrimPrefix(r, "GET "), "?")
		switch filepath.Base(filepath.Dir(name)) {
		case "maps":
			trees = append(trees, filepath.Base(name)) // of both tiers
		case "packs":
			packs = append(packs, filepath.Base(name))
		}
	}
	slices.Sort(trees)
	return slices.Compact(trees), packs
}

// confine refuses all writes outside this tier, as the permissions of a pull request do.
func (c *ciScene) confine(tier string) {
	write := s3test.Method(http.MethodPut, http.MethodPost, http.MethodDelete)
	c.proxy.On(func(r *http.Request) bool {
		return write(r) && !strings.Contains(r.URL.Path, "/team-a/"+tier+"/")
	}, 0, s3test.Answer(http.StatusForbidden, "AccessDenied", nil))
}

// expressions evaluates what the guide writes between ${{ and }}; anything else is a mistake.
func (c *ciScene) expressions(env map[string]string, values map[string]string) map[string]string {
	c.t.Helper()
	choice := regexp.MustCompile(`^(\S+) && '([^']*)' \|\| '([^']*)'$`)
	out := map[string]string{}
	for name, text := range env {
		out[name] = regexp.MustCompile(`\$\{\{ (.*?) \}\}`).ReplaceAllStringFunc(text, func(e string) string {
			e = strings.TrimSuffix(strings.TrimPrefix(e, "${{ "), " }}")
			parts := choice.FindStringSubmatch(e)
			if parts != nil {
				e = parts[1]
			}
			value, known := values[e]
			switch {
			case !known:
				c.t.Errorf("%s: nobody knows %q", name, e)
			case parts != nil && value != "":
				return parts[2]
			case parts != nil:
				return parts[3]
			}
			return value
		})
	}
	return out
}

// github runs a job of the workflow, and calls after with the command of each step.
func (c *ciScene) github(flow *githubFlow, name, home string, values map[string]string, after func(step string)) *ciJob {
	c.t.Helper()
	job := flow.Jobs[name]
	j := c.job(home, c.expressions(flow.Env, values), c.expressions(job.Env, values))
	j.env = append(j.env, "GITHUB_STEP_SUMMARY="+j.summary)
	for _, s := range job.Steps {
		if (s.If == "failure()") != j.failed || s.Run == "" || installs(c.t, s.Run) {
			continue
		}
		j.sh(s.Run, "-e") // GitHub's shell where none is named
		after(s.Run)
	}
	return j
}

func (c *ciScene) values(number string, withSecrets bool) map[string]string {
	values := map[string]string{"github.event.number": number, "secrets.AWS_ACCESS_KEY_ID": "", "secrets.AWS_SECRET_ACCESS_KEY": ""}
	for name, value := range c.secrets {
		if withSecrets {
			values["secrets."+name] = value
		}
	}
	return values
}

func ignore(string) {}

// The guide's jobs on GitHub: a pull request runs nothing that main has built, downloads what is asked for, and writes to its own tier.
func TestGuideOnGitHub(t *testing.T) {
	var flow githubFlow
	ciFile(t, ".github/workflows/models.yml", &flow)
	c := newCIScene(t)
	main := c.github(&flow, "main", "main", c.values("", true), ignore)
	main.well()
	c.ranOnce("make", "upper", "score")
	if !strings.Contains(read1(main.summary), "<details><summary>Stages</summary>") {
		t.Errorf("the job has no summary:\n%s", read1(main.summary))
	}

	c.confine("pr-12")
	before := len(c.proxy.Seen())
	second := c.github(&flow, "pull-request", "second", c.values("12", true), func(step string) {
		want := 0
		if strings.HasPrefix(step, "tinfra get ") {
			want = 1
		}
		if trees, packs := c.contents(before); len(trees) != want || len(packs) != want {
			t.Errorf("%q asked for the trees %q and their packs %q", step, trees, packs)
		}
		before = len(c.proxy.Seen())
	})
	second.well()
	c.ranOnce("make", "upper", "score")
	if got := read1(filepath.Join(c.dir, "tokenizer", "text.txt")); got != "HELLO" {
		t.Errorf("the output is %q", got)
	}
	for _, want := range []string{"3 cached, 0 to run", "3 hit"} {
		if !strings.Contains(second.said, want) {
			t.Errorf("it does not say %q:\n%s", want, second.said)
		}
	}
	if s := read1(second.summary); !strings.Contains(s, "0 ran, 3 reused") || strings.Contains(s, c.dir) {
		t.Errorf("the summary:\n%s", s)
	}
	c.changeAndFail(&flow)
}

// changeAndFail: what a pull request changes runs, and only for it; where that fails, the log is kept.
func (c *ciScene) changeAndFail(flow *githubFlow) {
	t := c.t
	t.Helper()
	c.write(ciRecipePath, strings.Replace(ciRecipe, "value = 3", "value = 2", 1))
	c.github(flow, "pull-request", "changed", c.values("12", true), ignore).well()
	c.github(flow, "pull-request", "again", c.values("12", true), ignore).well()
	if ran := c.runs(); ran["make"] != 1 || ran["upper"] != 1 || ran["score"] != 2 {
		t.Errorf("a change of one stage ran %v", ran)
	}
	c.write(ciRecipePath, ciRecipe+"stage \"trial\" \"bad\" {\n  mode = \"crash\"\n  text = make.base.files\n}\n")
	bad := c.github(flow, "pull-request", "bad", c.values("12", true), ignore)
	if !bad.failed {
		t.Error("a failing stage does not fail the job")
	}
	logs, err := filepath.Glob(filepath.Join(c.dir, "logs", "*"))
	must(t, err)
	for i := range logs {
		logs[i] = filepath.Base(logs[i])
	}
	if !slices.Equal(logs, []string{"build.txt", "trial.bad.txt"}) || read1(filepath.Join(c.dir, "logs", "trial.bad.txt")) == "" {
		t.Errorf("these logs are kept: %q\n%s", logs, bad.said)
	}
	c.proxy.Calm()
	c.write(ciRecipePath, strings.Replace(ciRecipe, "value = 3", "value = 2", 1))
	c.github(flow, "main", "merged", c.values("", true), ignore).well()
	if ran := c.runs(); ran["score"] != 3 {
		t.Errorf("main takes what a pull request has made: %v", ran)
	}
}
