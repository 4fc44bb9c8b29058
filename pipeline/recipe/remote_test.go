package recipe

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestRemoteBlock(t *testing.T) {
	path := write(t, ProjectFile, `
remote "s3" {
  bucket        = "models"
  endpoint      = "https://minio.example.org:9000/"
  region        = "eu-central-1"
  prefix        = "/team-a/llama/"
  tier          = "pr-12"
  reads         = ["main", "nightly"]
  ca            = "ca.pem"
  path_style    = false
  single_writer = true
  read_only     = true
}
`)
	ca := filepath.Join(filepath.Dir(path), "ca.pem")
	if err := os.WriteFile(ca, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p, diags := LoadProject(filepath.Dir(path), nil)
	want := &Remote{
		Bucket: "models", Endpoint: "https://minio.example.org:9000", Region: "eu-central-1", Prefix: "team-a/llama",
		Tier: "pr-12", Reads: []string{"main", "nightly"}, CA: ca, SingleWriter: true, ReadOnly: true,
	}
	if len(diags) > 0 || !reflect.DeepEqual(p.Remote, want) {
		t.Errorf("%+v, want %+v: %v", p.Remote, want, diags)
	}
}

func TestRemoteIsAddressedByPathWhereItHasAnEndpoint(t *testing.T) {
	for text, want := range map[string]*Remote{
		``:                                  nil,
		`remote "s3" { bucket = "models" }`: {Bucket: "models"},
		"remote \"s3\" {\n  bucket = \"models\"\n  endpoint = \"http://[::1]:9000\"\n}": {Bucket: "models", Endpoint: "http://[::1]:9000", PathStyle: true},
	} {
		p, diags := LoadProject(filepath.Dir(write(t, ProjectFile, text+"\n")), nil)
		if len(diags) > 0 || !reflect.DeepEqual(p.Remote, want) {
			t.Errorf("%s: %+v, want %+v: %v", text, p.Remote, want, diags)
		}
	}
}

// secretWord stands in these tests where people put credentials.
const secretWord = "hunter2"

// Each file states its own mistakes as those of TestFixtures do. The line of a diagnostic is shown to the person: none may hold a secret.
func TestWrongRemotes(t *testing.T) {
	for name, text := range map[string]string{
		"unknown setting": `
remote "s3" {
  buckt    = "models" # ERROR: Unknown setting ;; Did you mean bucket?
  versions = 3        # ERROR: remote "s3" has no setting "versions"
  bucket   = "models"
}`,
		"no bucket": `
remote "s3" { # ERROR: Missing setting ;; needs bucket
  tier = "main"
}`,
		"bucket with more than its name": `
remote "s3" {
  bucket = "s3://models/x" # ERROR: bucket: "s3://models/x" is no name of a bucket
}`,
		"another store": `
remote "gcs" { # ERROR: Unknown block ;; Did you mean remote s3?
  bucket = "models"
}`,
		"two": `
remote "s3" {
  bucket = "models"
}
remote "s3" { # ERROR: one remote s3 block
  bucket = "models"
}`,
		"block inside": `
remote "s3" {
  bucket = "models"
  credentials { # ERROR: remote "s3" has no block "credentials"
  }
}`,
		"endpoint": `
remote "s3" {
  bucket   = "models"
  endpoint = "minio.example.org:9000" # ERROR: is no address of a server
}`,
		"endpoint with a path": `
remote "s3" {
  bucket   = "models"
  endpoint = "https://minio.example.org/models" # ERROR: is no address of a server
}`,
		"endpoint with a password": `
remote "s3" { # ERROR: Credentials in the project file: endpoint: it must hold no credentials ;; AWS_ACCESS_KEY_ID
  bucket   = "models"
  endpoint = "https://me:` + secretWord + `@minio.example.org"
}`,
		"endpoint that is no address, with a password": `
remote "s3" { # ERROR: Credentials in the project file
  bucket   = "models"
  endpoint = "https://me:%zz` + secretWord + `@minio.example.org"
}`,
		"credentials": `
remote "s3" { # ERROR: access_key: it must hold no credentials ;; secret_access_key: it must hold no credentials ;; session_token: it must
  bucket            = "models"
  access_key        = "` + secretWord + `"
  secret_access_key = "` + secretWord + `"
  session_token     = "` + secretWord + `"
}`,
		"tiers": `
remote "s3" {
  bucket = "models"
  tier   = "feature/x"       # ERROR: tier: "feature/x" is no name of a tier
  reads  = ["main", "Main"]  # ERROR: reads: "Main" is no name of a tier
}`,
		"tier twice": `
remote "s3" {
  bucket = "models"
  reads  = ["main", "main"] # ERROR: reads holds "main" twice
}`,
		"prefix": `
remote "s3" {
  bucket = "models"
  prefix = "a/../b" # ERROR: is no prefix
}`,
		"region": `
remote "s3" {
  bucket = "models"
  region = "" # ERROR: is no region
}`,
		"types": `
remote "s3" {
  bucket        = ["models"] # ERROR: bucket is a text
  path_style    = "often"    # ERROR: path_style is true or false
  single_writer = 1          # ERROR: single_writer is true or false
  reads         = "main"     # ERROR: reads is a list of texts
  ca            = "none.pem" # ERROR: ca: there is no file
}`,
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, ProjectFile, strings.TrimPrefix(text, "\n")+"\n")
			p, diags := LoadProject(filepath.Dir(path), nil)
			if p.Remote != nil && name != "two" {
				t.Errorf("a wrong remote is taken: %+v", p.Remote)
			}
			lines := strings.Split(text, "\n")[1:]
			said := map[int]string{}
			for _, d := range diags {
				said[d.Subject.Start.Line] += d.Summary + ": " + d.Detail + "\n"
				if shown := lines[d.Subject.Start.Line-1] + d.Detail; strings.Contains(shown, secretWord) {
					t.Errorf("a secret is shown: %s", shown)
				}
			}
			for i, line := range lines {
				_, want, stated := strings.Cut(line, "# ERROR: ")
				for _, words := range strings.Split(want, " ;; ") {
					if !strings.Contains(said[i+1], words) || stated != (said[i+1] != "") {
						t.Errorf("line %d: %q, want it to say %q", i+1, said[i+1], words)
					}
				}
			}
		})
	}
}

func TestParseRemote(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	for address, want := range map[string]*Remote{
		"s3://models":             {Bucket: "models"},
		"s3://models/team-a/x/":   {Bucket: "models", Prefix: "team-a/x"},
		"s3://models?tier=pr-12":  {Bucket: "models", Tier: "pr-12"},
		"s3://models?reads=a,b":   {Bucket: "models", Reads: []string{"a", "b"}},
		"s3://models?ca=~/ca.pem": {Bucket: "models", CA: filepath.Join(home, "ca.pem")},
		"s3://models/p?endpoint=http://127.0.0.1:9000&region=us-east-1":     {Bucket: "models", Prefix: "p", Endpoint: "http://127.0.0.1:9000", Region: "us-east-1", PathStyle: true},
		"s3://models?path_style=false&endpoint=https%3A%2F%2Fx.example.org": {Bucket: "models", Endpoint: "https://x.example.org"},
		"s3://models?single_writer=true":                                    {Bucket: "models", SingleWriter: true},
		"s3://models?read_only=true":                                        {Bucket: "models", ReadOnly: true},
	} {
		if r, err := ParseRemote(address); err != nil || !reflect.DeepEqual(r, want) {
			t.Errorf("%s: %+v, %v; want %+v", address, r, err, want)
		}
	}
}

func TestParseRemoteRefuses(t *testing.T) {
	for address, says := range map[string]string{
		"":                                       "write it as in s3://",
		"models":                                 "write it as in s3://",
		"https://minio.example.org/models":       "write it as in s3://",
		"s3:///models":                           "write it as in s3://",
		"s3://models:9000/x":                     "write it as in s3://",
		"s3://models#x":                          "write it as in s3://",
		"s3://m":                                 "is no name of a bucket",
		"s3://models/a//b":                       "is no prefix",
		"s3://models?teir=x":                     "Did you mean tier?",
		"s3://models?tier=":                      "is no name of a tier",
		"s3://models?tier=a&tier=b":              "tier stands twice",
		"s3://models?reads=main,":                "is no name of a tier",
		"s3://models?reads=main,main":            "twice",
		"s3://models?path_style=often":           "neither true nor false",
		"s3://models?endpoint=localhost:9000":    "is no address of a server",
		"s3://models?ca=":                        "ca in the address of a bucket: it is empty",
		"s3://models?a;b":                        "cannot be read",
		"s3://AKIA:" + secretWord + "@models":    "must hold no credentials",
		"s3://AKIA:%zz" + secretWord + "@models": "must hold no credentials",
		"s3://models?secret_key=" + secretWord:   "secret_key in the address of a bucket: it must hold no credentials",
		"s3://models?endpoint=https://me:" + secretWord + "@x.y":    "must hold no credentials",
		"s3://models?endpoint=https://me:%25zz" + secretWord + "@x": "must hold no credentials",
	} {
		r, err := ParseRemote(address)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(fmt.Sprint(err), secretWord) {
			t.Errorf("%s: %+v, %v; want it to say %q", address, r, err, says)
		}
	}
}
