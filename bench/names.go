package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// countNames adds what lies in a cache: names, and the fullest folder.
func countNames(out *grown, cache string, build int64) error {
	names, fullest, disk := 0, 0, int64(0)
	err := filepath.WalkDir(cache, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		names++
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			disk += st.Blocks * 512
		}
		if !d.IsDir() {
			return nil
		}
		in, err := os.ReadDir(path)
		fullest = max(fullest, len(in))
		return err
	})
	out.bytes("a build that has run nothing", build)
	out.count("names in the cache", names)
	out.count("names in its fullest folder", fullest)
	out.bytes("the cache, on the disk", disk)
	return err
}

// sizeOf adds up the files that a pattern matches.
func sizeOf(pattern string) (size int64, err error) {
	found, err := filepath.Glob(pattern)
	for _, name := range found {
		info, err := os.Stat(name)
		if err != nil {
			return 0, err
		}
		size += info.Size()
	}
	return size, err
}

func blobSize(cache, name string) int64 {
	info, err := os.Stat(filepath.Join(cache, "blobs", "sha256", name))
	if err != nil {
		return 0
	}
	return info.Size()
}

func readObject(path string) (map[string]json.RawMessage, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return members, nil
}
