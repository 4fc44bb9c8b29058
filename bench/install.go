package main

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// locks pin the peers that come from PyPI, with hashes.
//
//go:embed peers
var locks embed.FS

// bazelVersion is the newest whose binary npm has.
const bazelVersion = "2.1.0"

// workshop is the folder that the peers are installed into.
type workshop struct{ dir, uv string }

// peers installs what is not there yet. ninja and make are the system's own.
func (w workshop) peers(ctx context.Context, program string) ([]peer, error) {
	found := []peer{tinfra{program}}
	for name, as := range map[string]func(string) peer{
		"ninja": func(p string) peer { return ninja{p} },
		"make":  func(p string) peer { return gnuMake{p} },
	} {
		p, err := exec.LookPath(name)
		if err != nil {
			return nil, fmt.Errorf("%s is missing: install Debian's ninja-build and make: %w", name, err)
		}
		found = append(found, as(p))
	}
	for name, as := range map[string]func(string) peer{
		"task":      func(p string) peer { return goTask{p} },
		"snakemake": func(p string) peer { return snakemake{p} },
		"dvc":       func(p string) peer { return dvc{p} },
		"redun":     func(p string) peer { return redun{p} },
	} {
		p, err := w.fromPyPI(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("installing %s: %w", name, err)
		}
		found = append(found, as(p))
	}
	p, err := w.bazel(ctx)
	if err != nil {
		return nil, fmt.Errorf("installing Bazel: %w", err)
	}
	return append(found, bazel{p}), nil
}

// fromPyPI makes an environment for one tool, out of its lock.
func (w workshop) fromPyPI(ctx context.Context, name string) (string, error) {
	venv := filepath.Join(w.dir, name)
	program := filepath.Join(venv, "bin", name)
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	text, err := locks.ReadFile("peers/" + name + ".lock")
	if err != nil {
		return "", err
	}
	lock := filepath.Join(w.dir, name+".lock")
	if err := writeFile(lock, string(text)); err != nil {
		return "", err
	}
	if err := quietly(ctx, w.uv, "venv", "--quiet", "--clear", "--python", "python3", venv); err != nil {
		return "", err
	}
	return program, quietly(ctx, w.uv, "pip", "sync", "--quiet", "--compile-bytecode", "--require-hashes", "--python", filepath.Join(venv, "bin", "python"), lock)
}

func (w workshop) bazel(ctx context.Context) (string, error) {
	dir := filepath.Join(w.dir, "bazel")
	program := filepath.Join(dir, "node_modules", "@bazel", "bazel-linux_x64", "bazel-"+bazelVersion+"-linux-x86_64")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	err := quietly(ctx, "npm", "install", "--silent", "--no-save", "--no-package-lock", "--ignore-scripts", "--prefix", dir, "@bazel/bazel-linux_x64@"+bazelVersion)
	if err != nil {
		return "", err
	}
	return program, os.Chmod(program, 0o755)
}

func quietly(ctx context.Context, argv ...string) error {
	if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", argv, err, out)
	}
	return nil
}
