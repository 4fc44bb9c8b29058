package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// cargo is what tools bring to a bucket and back: some folders of files, each an output of a stage in tinfra's recipe.
type cargo struct {
	folders []string
	write   func(b *bench, dir string) error // makes the folders in dir, on the disk when it returns
	bytes   int64                            // of all files at least
	many    bool                             // files so many that they are not removed until all has been measured
	files   []string                         // those of the one folder, for the tool that wants each by its name
	rclone  []string                         // what it is told beside what to copy
}

// clear gives an empty folder, without what lies there.
func (c cargo) clear(dir string) error {
	if c.many {
		return replaced(dir)
	}
	return fresh(dir)
}

// gone is clear, without the folder.
func (c cargo) gone(dir string) error { return errors.Join(c.clear(dir), os.Remove(dir)) }

// toTinfra builds the recipe whose stages give the folders, in the folder of the entry.
func (c cargo) toTinfra(b *bench, e entry) error {
	var recipe strings.Builder
	made := filepath.Join(e.Dir, "made")
	for i, folder := range c.folders {
		fmt.Fprintf(&recipe, "stage \"exec\" \"made%d\" {\n  command = [\"/bin/mv\", %q, \"out/files/\"]\n}\n\n", i, filepath.Join(made, folder))
	}
	if err := errors.Join(c.write(b, made), writeFile(filepath.Join(e.Dir, "recipe.hcl"), recipe.String())); err != nil {
		return err
	}
	local := e
	local.Environ = tinfraEnviron(e.Dir)
	return b.do(local, tinfra{b.tools.tool("tinfra")}.command(e.Dir)...)
}

// beside is where the cargo lies for all tools but tinfra.
const beside = "files"

// lay makes it where it is not yet.
func (c cargo) lay(b *bench, dir string) error {
	at := filepath.Join(dir, beside)
	if _, err := os.Stat(at); err == nil {
		return nil
	}
	return c.write(b, at)
}

// names are the files, as they lie in a folder.
func (c cargo) names(dir string) []string {
	var all []string
	for _, name := range c.files {
		all = append(all, filepath.Join(dir, name))
	}
	return all
}

// plainly stores its files as objects of their names.
func (at bucketAt) plainly(ctx context.Context, dir string) error {
	client, err := at.client()
	if err != nil {
		return err
	}
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(16)
	err = filepath.WalkDir(filepath.Join(dir, beside), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(filepath.Join(dir, beside), path)
		if err != nil {
			return err
		}
		all.Go(func() error {
			_, err := client.FPutObject(ctx, bucketName, plainPrefix+filepath.ToSlash(rel), path, minio.PutObjectOptions{})
			return err
		})
		return nil
	})
	return errors.Join(err, all.Wait())
}

// whole says what lacks of the cargo in a folder that has got it.
func (c cargo) whole(dir string) error {
	got := int64(0)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			got += info.Size()
		}
		return err
	})
	if err == nil && got < c.bytes {
		err = fmt.Errorf("%s has %d bytes of %d", dir, got, c.bytes)
	}
	return err
}

// settled waits until what was written is on the disk, so that no tool waits for what another one has left.
func settled() { unix.Sync() }

// setAside ends what a row has started. A row of many files leaves them to what is removed at the very end.
func (b *bench) setAside(c cargo, dir string) {
	b.endServer()
	if c.many {
		_ = os.Rename(dir, filepath.Join(filepath.Dir(b.dir), wastePrefix+rand.Text())) // it has gone with another entry, else the row removes it
	}
}
