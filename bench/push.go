package main

import (
	"errors"
	"path/filepath"
	"slices"
)

// pushArgv is the command that brings the cargo to the bucket; it runs in a folder beside the cargo's. Files are added to those that want
// each by its name.
func (c cargo) pushArgv(tool, program string) []string {
	switch tool {
	case "minio-go":
		return []string{program, "push", bucketName, plainPrefix + c.folders[0] + "/"}
	case "rclone":
		return append([]string{program, "copy", "../" + beside, "bench:" + bucketName + "/" + plainPrefix}, c.rclone...)
	case "s5cmd":
		return []string{program, "--log", "error", "cp", "../" + beside + "/", "s3://" + bucketName + "/" + plainPrefix}
	case "restic":
		return []string{program, "--quiet", "backup", "../" + beside}
	}
	return []string{program, "cache", "push", "recipe.hcl"}
}

// pushed are tools that bring the cargo to a bucket that is empty, or with again to one that has it.
func (c cargo) pushed(b *bench, dir string, again bool, tools ...string) []entry {
	var all []entry
	for _, tool := range tools {
		at := filepath.Join(dir, tool)
		e := entry{Tool: tool, Dir: at, Argv: c.pushArgv(tool, b.tools.tool(tool)), Environ: remoteEnviron(tinfraEnviron(at)...)}
		if tool == "minio-go" {
			e.Argv = slices.Concat(e.Argv, c.names(filepath.Join("..", beside, c.folders[0])))
		}
		if tool == "s5cmd" && again {
			e.Argv[3] = "sync"
		}
		e.Begin = func(e entry) error {
			if err := c.ready(b, dir, e); err != nil || !again {
				return err
			}
			return errors.Join(c.open(b, dir, e, b.minio == nil), b.do(e, e.Argv...))
		}
		e.Before = func(e entry, _ int) error {
			if again {
				return nil
			}
			err := c.open(b, dir, e, true)
			settled()
			return err
		}
		if !again { // else what all tools have stored is there
			e.Count = func(_ entry, s *sample) (err error) {
				s.Stored, err = b.minio.at.stored(b.ctx)
				return err
			}
		}
		e.End = func(entry) { b.setAside(c, dir) }
		all = append(all, e)
	}
	return all
}

// ready makes what the tool brings.
func (c cargo) ready(b *bench, dir string, e entry) error {
	if e.owner() == "tinfra" {
		return c.toTinfra(b, e)
	}
	return c.lay(b, dir)
}

// open tells the tool a bucket, one that is empty if it shall be, and has it do there what it does once for each bucket.
func (c cargo) open(b *bench, dir string, e entry, empty bool) error {
	if empty {
		if _, err := b.emptyBucket(dir, c.clear); err != nil {
			return err
		}
	}
	b.minio.at.tell(e)
	var once []string
	switch e.owner() {
	case "restic":
		once = []string{e.Argv[0], "--quiet", "init"}
	case "tinfra":
		once = []string{e.Argv[0], "doctor"}
	default:
		return nil
	}
	return b.do(e, once...)
}
