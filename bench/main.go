// Command bench measures tinfra beside its peers: the same graph in each tool's own language, in one run, one tool after
// the other. It knows the peers' languages and how to start them. It must not know anything of tinfra but its command line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	program := flag.String("tinfra", "bin/tinfra", "the program that is measured")
	folder := flag.String("folder", "bin/bench", "where peers are installed and graphs are built; kept from run to run")
	uv := flag.String("uv", "uv", "uv, which installs peers")
	only := flag.String("rows", ".", "a regular expression: the rows to measure")
	tools := flag.String("peers", ".", "a regular expression: the tools to measure beside tinfra")
	out := flag.String("o", "", "write the page there, too")
	flag.Parse()
	rowsWanted, err := regexp.Compile(*only)
	peersWanted, err2 := regexp.Compile(*tools)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	b, err := prepare(*program, *folder, *uv, peersWanted)
	if err != nil {
		return err
	}
	var results []result
	for _, r := range rows {
		if !rowsWanted.MatchString(r.Name) {
			continue
		}
		res, err := b.run(r)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stdout, "\n%s: %s, %s stages\n%s\n", r.Name, r.Doc, r.Graph, res.table())
		results = append(results, res)
	}
	if *out == "" {
		return nil
	}
	return writeFile(*out, page(results, machine()))
}

func prepare(program, folder, uv string, wanted *regexp.Regexp) (bench, error) {
	b := bench{ctx: context.Background()}
	at, err := filepath.Abs(folder)
	if err != nil {
		return b, err
	}
	if program, err = filepath.Abs(program); err != nil {
		return b, err
	}
	if uv, err = exec.LookPath(uv); err != nil {
		return b, fmt.Errorf("uv is missing: `make` installs one: %w", err)
	}
	if uv, err = filepath.Abs(uv); err != nil {
		return b, err
	}
	b.dir = filepath.Join(at, "graphs")
	peers, err := workshop{filepath.Join(at, "tools"), uv}.peers(b.ctx, program)
	for _, p := range peers {
		if p.name() == "tinfra" || wanted.MatchString(p.name()) {
			b.peers = append(b.peers, p)
		}
	}
	return b, err
}

// machine says on what the figures were measured.
func machine() string {
	model := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`model name\s*: (.*)`).FindSubmatch(text); m != nil {
			model = string(m[1])
		}
	}
	load := "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(text), " ")
	}
	return fmt.Sprintf("%d cores (%s), load %s at the end. Times are medians, with the least and the most of all rounds in brackets.", runtime.NumCPU(), model, load)
}
