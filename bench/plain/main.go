// Command plain is minio-go and nothing else: it brings files to a bucket or back, all at once, each as the library does it by itself. It
// must not know tinfra, which is measured beside it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "plain:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 4 || args[0] != "push" && args[0] != "pull" {
		return errors.New("usage: plain push|pull BUCKET PREFIX FILE…, with the endpoint in S3_ENDPOINT_URL")
	}
	client, err := minio.New(strings.TrimPrefix(os.Getenv("S3_ENDPOINT_URL"), "http://"), &minio.Options{Creds: credentials.NewEnvAWS(), Region: "us-east-1"})
	if err != nil {
		return err
	}
	verb, bucket, prefix, files := args[0], args[1], args[2], args[3:]
	failed := make([]error, len(files))
	var all sync.WaitGroup
	for i, file := range files {
		all.Go(func() {
			name := prefix + filepath.Base(file)
			if verb == "push" {
				_, failed[i] = client.FPutObject(context.Background(), bucket, name, file, minio.PutObjectOptions{})
			} else {
				failed[i] = client.FGetObject(context.Background(), bucket, name, file, minio.GetObjectOptions{})
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}
