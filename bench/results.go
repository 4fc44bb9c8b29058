package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// results are what several runs of this program have measured; of each tool in a row the last one counts.
type results struct {
	Runs   map[string]circumstances       `json:"runs"`
	Rows   map[string]map[string]measured `json:"rows"`
	Stages map[string]int                 `json:"stages"`
	Left   map[string]string              `json:"left"` // rows that were left out, and why
}

// measured is one tool in one row.
type measured struct {
	Run     string   `json:"run"` // in which it was measured
	Samples []sample `json:"samples"`
}

// circumstances of one run.
type circumstances struct {
	Began   time.Time `json:"began"`
	Machine string    `json:"machine"`
	Program string    `json:"program"` // what it says of its version
	Scale   float64   `json:"scale"`
	Missing []string  `json:"missing"` // tools that could not be installed
}

func readResults(path string) (results, error) {
	all := results{map[string]circumstances{}, map[string]map[string]measured{}, map[string]int{}, map[string]string{}}
	if path == "" {
		return all, nil
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return all, err
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		return all, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

func (all results) write(path string) error {
	raw, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	return writeFile(path, string(raw)+"\n")
}

func (all results) add(r row, run string, samples map[string][]sample) {
	if all.Rows[r.Name] == nil {
		all.Rows[r.Name] = map[string]measured{}
	}
	for tool, s := range samples {
		all.Rows[r.Name][tool] = measured{run, s}
	}
	all.Stages[r.Name] = r.Stages
	if len(samples) > 0 {
		delete(all.Left, r.Name)
	}
}

// tidy forgets runs of which nothing counts any more.
func (all results) tidy() {
	used := map[string]bool{}
	for _, tools := range all.Rows {
		for _, m := range tools {
			used[m.Run] = true
		}
	}
	for run := range all.Runs {
		if !used[run] {
			delete(all.Runs, run)
		}
	}
}

// machine says on what the figures are measured.
func machine() string {
	model := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`model name\s*: (.*)`).FindSubmatch(text); m != nil {
			model = string(m[1])
		}
	}
	memory := ""
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib uint64
		if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kib); err == nil {
			memory = fmt.Sprintf(", %d GiB", kib>>20)
		}
	}
	return fmt.Sprintf("%d cores (%s)%s", runtime.NumCPU(), model, memory)
}

func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	l, _, _ := strings.Cut(string(text), " ")
	return l
}
