package main

import (
	"errors"
	"path/filepath"
	"slices"
)

// got is where a tool brings the cargo to.
const got = "got"

func (c cargo) pullArgv(tool, program string) []string {
	switch tool {
	case "minio-go":
		return []string{program, "pull", bucketName, plainPrefix + c.folders[0] + "/"}
	case "rclone":
		return append([]string{program, "copy", "bench:" + bucketName + "/" + plainPrefix, got}, c.rclone...)
	case "s5cmd":
		return []string{program, "--log", "error", "cp", "s3://" + bucketName + "/" + plainPrefix + "*", got + "/"}
	case "restic":
		return []string{program, "--quiet", "--no-cache", "restore", "latest", "--target", got}
	}
	return []string{program, "cache", "pull", "recipe.hcl"}
}

// pulled are tools that bring the cargo back, to a machine that has nothing of it.
func (c cargo) pulled(b *bench, dir string, tools ...string) []entry {
	plain := false // the objects that several tools read are there
	var all []entry
	for _, tool := range tools {
		at := filepath.Join(dir, tool)
		e := entry{Tool: tool, Dir: at, Argv: c.pullArgv(tool, b.tools.tool(tool)), Environ: remoteEnviron(tinfraEnviron(at)...)}
		place := filepath.Join(at, got)
		switch tool {
		case "minio-go":
			e.Argv = slices.Concat(e.Argv, c.names(got))
		case "tinfra":
			place = tinfraCache(at)
		}
		e.Begin = func(e entry) error {
			if err := c.open(b, dir, e, b.minio == nil); err != nil {
				return err
			}
			if tool != "tinfra" && tool != "restic" && plain {
				return nil
			}
			if err := errors.Join(c.ready(b, dir, e), c.bring(b, dir, e)); err != nil {
				return err
			}
			plain = plain || tool != "tinfra" && tool != "restic"
			// All that it was brought from goes again: a disk that had everything of each tool would be a large one.
			return errors.Join(c.clear(tinfraCache(at)), c.gone(filepath.Join(dir, beside)))
		}
		e.Before = func(entry, int) error {
			settled()
			return c.clear(place)
		}
		e.Count = func(entry, *sample) error { return errors.Join(c.whole(place), c.clear(place)) }
		e.End = func(entry) { b.setAside(c, dir) }
		all = append(all, e)
	}
	return all
}

// bring puts the cargo into the bucket in the way that the tool reads it.
func (c cargo) bring(b *bench, dir string, e entry) error {
	if e.Tool == "tinfra" || e.Tool == "restic" {
		return b.do(e, c.pushArgv(e.Tool, e.Argv[0])...)
	}
	return b.minio.at.plainly(b.ctx, dir)
}
