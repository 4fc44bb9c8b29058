package main

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
)

const (
	bucketName = "bench"
	accessKey  = "bench"
	region     = "us-east-1"
	// plainPrefix is where tools lie that store files as objects of their names.
	plainPrefix = "plain/"
)

// secretKey is another one in each run, so that none takes the server of another for its own.
var secretKey = crand.Text()

// minioServer is MinIO on loopback with one bucket. It is a process of its own: what it takes is in no tool's figures.
type minioServer struct {
	at   bucketAt
	hold io.Closer     // the keeper's input
	over chan struct{} // closed when the process has ended
}

// The server ends with the keeper's input, thus with this process, however that ends.
const keeper = `"$@" </dev/null >/dev/null 2>&1 & server=$!; read -r end; kill -9 "$server"; wait "$server"`

// startMinIO begins with an empty bucket, whose bytes lie in dir.
func startMinIO(ctx context.Context, dir string) (*minioServer, error) {
	program, err := s3test.Install(ctx, s3test.KindMinIO)
	if err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "sh", "-c", keeper, "keeper", program, "server", "--address", address, "--quiet", dir)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "MINIO_ROOT_USER=" + accessKey, "MINIO_ROOT_PASSWORD=" + secretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for this process, whose end the keeper sees
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting MinIO: %w", err)
	}
	s := &minioServer{at: bucketAt{"http://" + address, strings.ToLower(crand.Text())}, hold: hold, over: make(chan struct{})}
	go func() { // ends with the keeper, for which end waits
		defer close(s.over)
		_ = cmd.Wait() // the keeper's exit says nothing
	}()
	if err := s.at.make(ctx); err != nil {
		s.end()
		return nil, fmt.Errorf("MinIO: %w", err)
	}
	return s, nil
}

func (s *minioServer) end() {
	s.hold.Close()
	<-s.over
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// bucketAt is where the bucket is reached. Prefix is tinfra's, another one for each server: what tinfra has seen of one is nothing that
// it could take for granted of the next.
type bucketAt struct{ endpoint, prefix string }

func (at bucketAt) client() (*minio.Client, error) {
	return minio.New(strings.TrimPrefix(at.endpoint, "http://"), &minio.Options{Creds: credentials.NewStaticV4(accessKey, secretKey, ""), Region: region, MaxRetries: 1})
}

// make waits until the server answers.
func (at bucketAt) make(ctx context.Context) error {
	client, err := at.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ask := time.NewTicker(20 * time.Millisecond)
	defer ask.Stop()
	for {
		err := client.MakeBucket(ctx, bucketName, minio.MakeBucketOptions{Region: region})
		if err == nil {
			return nil
		}
		select {
		case <-ask.C:
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// stored adds up the objects of the bucket.
func (at bucketAt) stored(ctx context.Context) (bytes int64, err error) {
	client, err := at.client()
	if err != nil {
		return 0, err
	}
	for o := range client.ListObjectsIter(ctx, bucketName, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			return 0, fmt.Errorf("what lies in the bucket: %w", o.Err)
		}
		bytes += o.Size
	}
	return bytes, ctx.Err()
}

// environ is what tells each of the tools where the bucket is.
func (at bucketAt) environ() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey, "AWS_REGION=" + region,
		"TINFRA_REMOTE=s3://" + bucketName + "/" + at.prefix + "?endpoint=" + url.QueryEscape(at.endpoint),
		"S3_ENDPOINT_URL=" + at.endpoint, // s5cmd's, and that of the program around minio-go
		"RCLONE_CONFIG_BENCH_TYPE=s3", "RCLONE_CONFIG_BENCH_PROVIDER=Minio", "RCLONE_CONFIG_BENCH_ENV_AUTH=true",
		"RCLONE_CONFIG_BENCH_REGION=" + region, "RCLONE_CONFIG_BENCH_ENDPOINT=" + at.endpoint,
		"RESTIC_REPOSITORY=s3:" + at.endpoint + "/" + bucketName + "/restic", resticEnviron,
	}
}

// remoteEnviron has room for the variables of a bucket behind those of a tool.
func remoteEnviron(own ...string) []string { return append(own, bucketAt{}.environ()...) }

// tell puts a bucket there.
func (at bucketAt) tell(e entry) {
	vars := at.environ()
	copy(e.Environ[len(e.Environ)-len(vars):], vars)
}

// emptyBucket ends the server that runs and starts one that has nothing. The folder is emptied by clear.
func (b *bench) emptyBucket(dir string, clear func(dir string) error) (bucketAt, error) {
	b.endServer()
	at := filepath.Join(dir, "server")
	if err := clear(at); err != nil {
		return bucketAt{}, err
	}
	s, err := startMinIO(b.ctx, at)
	if err != nil {
		return bucketAt{}, err
	}
	b.minio = s
	return s.at, nil
}

func (b *bench) endServer() {
	if b.minio != nil {
		b.minio.end()
		b.minio = nil
	}
}
