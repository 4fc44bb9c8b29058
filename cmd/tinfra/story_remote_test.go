package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
)

// cmdBucket makes a bucket on a real server and sets $BUCKET, its $ENDPOINT, the folder $BUCKETDIR where the server keeps it, and the
// credentials: "bucket minio" or "bucket versitygw".
func cmdBucket(t *testing.T, ts *testscript.TestScript, neg bool, args []string) {
	servers := map[string]func(testing.TB) *s3test.Server{s3test.KindMinIO: s3test.MinIO, s3test.KindVersity: s3test.Versity}
	if neg || len(args) != 1 || servers[args[0]] == nil {
		ts.Fatalf("usage: bucket minio|versitygw")
	}
	s := servers[args[0]](t)
	name := s.Bucket(t)
	for _, pair := range s.Env() {
		variable, value, _ := strings.Cut(pair, "=")
		ts.Setenv(variable, value)
	}
	ts.Setenv("BUCKET", name)
	ts.Setenv("ENDPOINT", s.Endpoint)
	ts.Setenv("BUCKETDIR", filepath.Join(s.Dir(), name))
}

// cmdLose takes away all that the server keeps below a folder of this name, wherever in the bucket: "lose packs", "lose main/packs".
func cmdLose(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: lose FOLDER")
	}
	var found []string
	ts.Check(filepath.WalkDir(ts.Getenv("BUCKETDIR"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasSuffix(path, "/"+args[0]) {
			found = append(found, path)
		}
		return err
	}))
	if len(found) == 0 {
		ts.Fatalf("the bucket has no %s", args[0])
	}
	for _, path := range found {
		ts.Check(os.RemoveAll(path))
	}
}

// cmdSpoil flips one bit of each file that the server keeps below a folder of this name, on its disk: "spoil packs".
func cmdSpoil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: spoil FOLDER")
	}
	spoiled := 0
	ts.Check(filepath.WalkDir(ts.Getenv("BUCKETDIR"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "/"+args[0]+"/") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			return err
		}
		b[len(b)-1] ^= 0x10 // where MinIO has bytes of the object in a file of its own about it
		spoiled++
		f, err := os.OpenFile(path, os.O_WRONLY, 0) // what the server notes beside the bytes stays
		if err != nil {
			return err
		}
		_, err = f.WriteAt(b[len(b)-1:], int64(len(b)-1))
		return errors.Join(err, f.Close())
	}))
	if spoiled == 0 {
		ts.Fatalf("the bucket has no %s", args[0])
	}
}
