package main

import (
	"path/filepath"
	"time"
)

// startRows ask for the version.
func startRows() []row {
	return []row{{Name: "start", Doc: "the tool says its version", Size: "nothing", Rounds: 21, Aims: []aim{wallBelow(10 * time.Millisecond)},
		Entries: func(b *bench, dir string) []entry {
			argument := map[string]string{"tinfra": "version", "ninja": "--version", "make": "--version", "go-task": "--version", "restic": "version", "DVC": "--version",
				"Snakemake": "--version", "redun": "--version"}
			var all []entry
			for _, tool := range sortedKeys(argument) {
				at := filepath.Join(dir, tool)
				e := entry{Tool: tool, Dir: at, Argv: []string{b.tools.tool(tool), argument[tool]}}
				switch tool {
				case "tinfra":
					e.Environ = tinfraEnviron(at)
				case "DVC":
					e.Environ = dvcEnviron(at)
				}
				all = append(all, e)
			}
			return all
		}}}
}
