package s3test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// program is a server that is built from its source, once for all checkouts of a machine.
type program struct {
	name, module, version string
	command               func(site) (args, env []string)
}

// site is what a server is started for.
type site struct {
	listen, data      string // host and port; folder
	certs             string // folder, for a server that speaks TLS; else ""
	certFile, keyFile string // in it
}

// MinIO is archived since April 2026, which is no harm to a server of tests; versitygw makes its conditional writes one at a time
// since 1.8.0 only.
var programs = map[string]program{
	KindMinIO: {
		name: "minio", module: "github.com/minio/minio", version: "v0.0.0-20260212201848-7aac2a2c5b7c",
		command: func(at site) (args, env []string) {
			args = []string{"server", "--address", at.listen, "--quiet"}
			if at.certs != "" {
				args = append(args, "--certs-dir", at.certs)
			}
			return append(args, at.data), []string{"MINIO_ROOT_USER=" + AccessKey, "MINIO_ROOT_PASSWORD=" + SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off"}
		},
	},
	KindVersity: {
		name: "versitygw", module: "github.com/versity/versitygw/cmd/versitygw", version: "v1.8.0",
		command: func(at site) (args, env []string) {
			args = []string{"--port", at.listen, "--quiet"}
			if at.certs != "" {
				args = append(args, "--cert", at.certFile, "--key", at.keyFile)
			}
			return append(args, "posix", at.data), []string{"ROOT_ACCESS_KEY=" + AccessKey, "ROOT_SECRET_KEY=" + SecretKey}
		},
	},
}

// Install gives the path of the server's program, which it builds where it is not there yet: some minutes, and the only time that a test
// needs the network. Of several that want it at once one builds.
func Install(ctx context.Context, kind string) (string, error) {
	p, ok := programs[kind]
	if !ok {
		return "", fmt.Errorf("no server of kind %q can be installed", kind)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("installing %s: %w", p.name, err)
	}
	folder := filepath.Join(cache, "tinfra-test", p.name+"@"+p.version)
	path := filepath.Join(folder, p.name)
	if there(path) {
		return path, nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("installing %s: %w", p.name, err)
	}
	lock := flock.New(folder + ".lock")
	if _, err := lock.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return "", fmt.Errorf("waiting for another one that installs %s: %w", p.name, err)
	}
	defer lock.Unlock() //nolint:errcheck // it ends with this process, if not here
	if there(path) {
		return path, nil
	}
	return path, build(ctx, p, path)
}

func there(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// build makes the program beside its place: one that is there is whole.
func build(ctx context.Context, p program, path string) error {
	fresh, err := os.MkdirTemp(filepath.Dir(path), "build-")
	if err != nil {
		return fmt.Errorf("installing %s: %w", p.name, err)
	}
	defer os.RemoveAll(fresh)
	c := exec.CommandContext(ctx, "go", "install", p.module+"@"+p.version)
	c.Dir = fresh // not this module: its requirements are not the server's
	c.Env = append(os.Environ(), "GOBIN="+fresh, "GOFLAGS=", "GOWORK=off")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("installing %s from the Go module proxy, which the tests with a real server need: %w\n%s", p.name, err, out)
	}
	if err := os.Rename(filepath.Join(fresh, p.name), path); err != nil {
		return fmt.Errorf("installing %s: %w", p.name, err)
	}
	return nil
}
