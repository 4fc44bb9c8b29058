package run

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages"
	"github.com/Ruihan11/tiny-infra/stages/env"
)

// Folders of a workspace beside those of the protocol.
const (
	workerDir = "worker"
	tmpDir    = "tmp"
	homeDir   = "home"
)

// networkVariables pass through to kinds that may use the network, as do those of pip, uv and xet: how this machine
// reaches it, and which package index or hub is the user's. A token is a secret, so HF_TOKEN is not among them.
var networkVariables = []string{
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC", "XDG_CONFIG_HOME",
	"HF_ENDPOINT", "HF_HUB_DISABLE_XET", "HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT",
}

// command is what a worker's process consists of.
type command struct {
	argv, env []string
}

// commandOf composes argv and the complete environment of an attempt. ready is the kind's environment, zero where it has none.
func (b *builder) commandOf(s *plan.Step, a *artifacts.Action, ws string, ready env.Ready, g *grant) (command, error) {
	st := s.Node.Stage
	vars := b.environ(st.Kind, ws, ready, g)
	if err := b.addSecrets(vars, st); err != nil {
		return command{}, err
	}
	argv, err := b.argv(s, a, ws, ready.Python, vars)
	if err != nil {
		return command{}, err
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		list = append(list, name+"="+vars[name])
	}
	return command{argv, list}, nil
}

func (b *builder) environ(k *stages.Kind, ws string, ready env.Ready, g *grant) map[string]string {
	path, _ := b.o.lookupEnv("PATH")
	vars := map[string]string{
		"PATH":                    path,
		"HOME":                    filepath.Join(ws, homeDir),
		"TMPDIR":                  filepath.Join(ws, tmpDir),
		"LANG":                    "C.UTF-8",
		"PYTHONDONTWRITEBYTECODE": "1",
		"PYTHONHASHSEED":          "0",
		"OMP_NUM_THREADS":         strconv.Itoa(g.threads()),
		"CUDA_VISIBLE_DEVICES":    strings.Join(g.gpus, ","),
		"CUDA_DEVICE_ORDER":       "PCI_BUS_ID", // that of nvidia-smi, by which facts and grants count; CUDA itself puts the fastest first
		"TINFRA_WORKSPACE":        ws,
	}
	if ready.Python != "" {
		vars["PATH"] = joined(filepath.Dir(ready.Python), path)
		vars["PYTHONPATH"] = joined(append([]string{filepath.Join(ws, workerDir, "sdk"), filepath.Join(ws, workerDir)}, ready.Path...)...)
		b.addAccelerator(vars, ready, g)
	}
	vars["HF_HUB_DISABLE_TELEMETRY"] = "1"
	if !k.Network {
		vars["HF_HUB_OFFLINE"], vars["TRANSFORMERS_OFFLINE"] = "1", "1"
		return vars
	}
	for _, pair := range b.o.Environ {
		name, value, _ := strings.Cut(pair, "=")
		if passes(name) {
			vars[name] = value
		}
	}
	b.addUserConfig(vars)
	return vars
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// addUserConfig names the files that pip and netrc would look for in the caller's home, since HOME is another one.
func (b *builder) addUserConfig(env map[string]string) {
	home, ok := b.o.lookupEnv("HOME")
	if !ok {
		return
	}
	for name, file := range map[string]string{"PIP_CONFIG_FILE": ".config/pip/pip.conf", "NETRC": ".netrc"} {
		at := filepath.Join(home, file)
		if _, err := os.Stat(at); err == nil && env[name] == "" {
			env[name] = at
		}
	}
}

// addSecrets makes each one known to the redactor before anything could print it.
func (b *builder) addSecrets(env map[string]string, st *recipe.Stage) error {
	values, err := b.secretsOf(st)
	if err != nil {
		return err
	}
	for name, value := range values {
		b.redact.add(value)
		env[name] = value
	}
	return nil
}

// secretsOf is the stage's secrets by the variables of its worker.
func (b *builder) secretsOf(st *recipe.Stage) (map[string]string, error) {
	values := map[string]string{}
	for _, param := range slices.Sorted(maps.Keys(st.Secrets)) {
		ref, declared := st.Secrets[param], st.Kind.Secret(param)
		if declared == nil {
			continue
		}
		value, ok := b.o.SecretValue(ref.Variable)
		if !ok {
			return nil, diagnosed(problem(ref.Range, "Secret is not set",
				"%s needs the secret %s: set the environment variable %s and build again.", st.Address, ref.Variable, ref.Variable))
		}
		if value != "" && len(strings.TrimSpace(value)) < shortest {
			return nil, diagnosed(problem(ref.Range, "Secret is too short",
				"The environment variable %s, for %s, holds fewer than %d characters: they cannot be kept out of logs.", ref.Variable, st.Address, shortest))
		}
		values[declared.Env] = value
	}
	return values, nil
}

func (b *builder) argv(s *plan.Step, a *artifacts.Action, ws, python string, env map[string]string) ([]string, error) {
	k := s.Node.Stage.Kind
	dir := filepath.Join(ws, workerDir, filepath.FromSlash(k.Dir))
	switch {
	case k.Native:
		return b.nativeCommand(s, a, env)
	case len(k.Command) > 0:
		argv := make([]string, len(k.Command))
		for i, arg := range k.Command {
			argv[i] = strings.ReplaceAll(arg, "{dir}", dir)
		}
		program, err := lookPath(argv[0], env["PATH"])
		if err != nil {
			return nil, fmt.Errorf("kind %s runs %q: %w", k.Name, argv[0], err)
		}
		argv[0] = program
		return argv, nil
	case python == "":
		return nil, fmt.Errorf("kind %s has neither an environment nor a command in its stage.hcl", k.Name)
	default:
		return []string{python, "-P", "-s", filepath.Join(dir, "worker.py")}, nil
	}
}

// nativeCommand is the params' command; its program must still be the one whose digest is in the key.
func (b *builder) nativeCommand(s *plan.Step, a *artifacts.Action, env map[string]string) ([]string, error) {
	var params map[string]json.RawMessage
	if err := json.Unmarshal(a.Params, &params); err != nil {
		return nil, fmt.Errorf("reading the params of %s: %w", s.Node.Stage.Address, err)
	}
	var argv []string
	if err := json.Unmarshal(params["command"], &argv); err != nil || len(argv) == 0 {
		return nil, fmt.Errorf("%s has no command", s.Node.Stage.Address)
	}
	sum, err := b.programs.sum(s.Program)
	if err != nil {
		return nil, fmt.Errorf("reading the program to run: %w", err)
	}
	identity, err := artifacts.JCS(map[string]any{"program": filepath.Base(argv[0]), "sha256": sum.Hex()})
	if err != nil {
		return nil, err
	}
	if artifacts.Sum(identity) != a.Worker {
		return nil, fmt.Errorf("%s has changed since the build was planned; build again", s.Program)
	}
	for i := range s.Node.Stage.Kind.Params {
		p := &s.Node.Stage.Kind.Params[i]
		if !p.Environ {
			continue
		}
		var chosen map[string]string
		if raw := params[p.Name]; raw != nil && json.Unmarshal(raw, &chosen) == nil {
			maps.Copy(env, chosen)
		}
	}
	return append([]string{s.Program}, argv[1:]...), nil
}

// lookPath finds a program on a PATH that is not this process's own.
func lookPath(name, path string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	if strings.ContainsRune(name, filepath.Separator) {
		return "", fmt.Errorf("it is neither a name on PATH nor an absolute path")
	}
	for _, dir := range filepath.SplitList(path) {
		at := filepath.Join(dir, name)
		if info, err := os.Stat(at); err == nil && filepath.IsAbs(dir) && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return at, nil
		}
	}
	return "", fmt.Errorf("it is not on PATH")
}
