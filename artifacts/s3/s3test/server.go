// Package s3test gives tests real S3-compatible servers on loopback, a proxy that makes faults between them and a client, and a server that
// is wrong on purpose. It knows how servers are installed, started and killed. It must not know what a shared cache keeps in them, nor our
// own client: a server is asked through minio-go only.
package s3test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// The kinds of real servers.
const (
	KindMinIO   = "minio"
	KindVersity = "versitygw"
)

// What every server accepts.
const (
	AccessKey = "tinfra-test"
	Region    = "us-east-1"
)

// SecretKey is another one in each process: of two that choose the same port one would take the other's server for its own.
var SecretKey = rand.Text()

// Server is one that runs, or was killed.
type Server struct {
	Kind     string
	Endpoint string // URL, without a slash at its end
	CA       string // file with the certificate that a client must trust; "" for a server without TLS

	home    string // folder of the process
	process *process
}

// Start gives a server of one's own, which ends with the test.
func Start(t testing.TB, kind string) *Server {
	t.Helper()
	return ownServer(t, kind, false)
}

// StartTLS gives one that speaks TLS, with a certificate that no system trusts.
func StartTLS(t testing.TB, kind string) *Server {
	t.Helper()
	return ownServer(t, kind, true)
}

func ownServer(t testing.TB, kind string, secure bool) *Server {
	t.Helper()
	s, err := start(t.Context(), kind, secure)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	return s
}

// Another process may take the port between its choice and the server's start.
const tries = 5

func start(ctx context.Context, kind string, secure bool) (*Server, error) {
	path, err := Install(ctx, kind)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		s, err := startOnce(ctx, kind, path, secure)
		if err == nil || try == tries || ctx.Err() != nil {
			return s, err
		}
	}
}

func startOnce(ctx context.Context, kind, path string, secure bool) (*Server, error) {
	listen, err := freePort(ctx)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", kind, err)
	}
	home, err := os.MkdirTemp("", "tinfra-"+kind+"-")
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", kind, err)
	}
	s := &Server{Kind: kind, Endpoint: "http://" + listen, home: home}
	if err := s.settle(ctx, path, secure); err != nil {
		s.end()
		return nil, fmt.Errorf("starting %s: %w", kind, err)
	}
	return s, nil
}

// settle makes the server's folder and starts it for the first time.
func (s *Server) settle(ctx context.Context, path string, secure bool) error {
	if err := os.Mkdir(s.Dir(), 0o755); err != nil {
		return err
	}
	if secure {
		s.Endpoint, s.CA = "https://"+s.address(), filepath.Join(s.home, "ca.pem")
		if err := certify(s.CA, s.site()); err != nil {
			return err
		}
	}
	return s.run(ctx, path)
}

// address is host and port.
func (s *Server) address() string {
	_, address, _ := strings.Cut(s.Endpoint, "://")
	return address
}

func (s *Server) site() site {
	at := site{listen: s.address(), data: s.Dir()}
	if s.CA != "" {
		at.certs = filepath.Join(s.home, "certs")
		at.certFile, at.keyFile = filepath.Join(at.certs, "public.crt"), filepath.Join(at.certs, "private.key")
	}
	return at
}

func freePort(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// run starts the program and waits until it answers.
func (s *Server) run(ctx context.Context, path string) error {
	args, env := programs[s.Kind].command(s.site())
	p, err := begin(ctx, s.home, env, append([]string{path}, args...)...)
	if err != nil {
		return err
	}
	s.process = p
	return s.ready(ctx)
}

const (
	startTime = 2 * time.Minute // a machine that builds other things meanwhile
	askEvery  = 20 * time.Millisecond
)

func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	client, err := s.client()
	if err != nil {
		return err
	}
	ask := time.NewTicker(askEvery)
	defer ask.Stop()
	for {
		_, err := client.ListBuckets(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ask.C:
		case <-s.process.over:
			return fmt.Errorf("it has ended, and printed: %s", s.process.output)
		case <-ctx.Done():
			return fmt.Errorf("it does not answer (%w), and printed: %s", err, s.process.output)
		}
	}
}

func (s *Server) client() (*minio.Client, error) {
	o := &minio.Options{Creds: credentials.NewStaticV4(AccessKey, SecretKey, ""), Region: Region, MaxRetries: 1}
	if s.CA != "" {
		trust, err := trusting(s.CA)
		if err != nil {
			return nil, err
		}
		o.Secure, o.Transport = true, trust
	}
	return minio.New(s.address(), o)
}

// Dir is where the server keeps its bytes, each bucket in a folder of its name. versitygw keeps an object as a file of its name; MinIO
// makes a folder of it, with a file part.1 or, of less than 128 KiB, within xl.meta.
func (s *Server) Dir() string { return filepath.Join(s.home, "data") }

// Env is what a client finds its credentials in.
func (s *Server) Env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + AccessKey, "AWS_SECRET_ACCESS_KEY=" + SecretKey, "AWS_REGION=" + Region}
}

// Setenv sets Env for the test, which therefore cannot run beside others.
func (s *Server) Setenv(t testing.TB) {
	t.Helper()
	for _, pair := range s.Env() {
		name, val, _ := strings.Cut(pair, "=")
		t.Setenv(name, val)
	}
}

// Bucket makes a new one, which goes with the server.
func (s *Server) Bucket(t testing.TB) string {
	t.Helper()
	name := "t-" + strings.ToLower(rand.Text())
	client, err := s.client()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.MakeBucket(t.Context(), name, minio.MakeBucketOptions{Region: Region}); err != nil {
		t.Fatalf("making a bucket on %s: %v", s.Kind, err)
	}
	return name
}

// Permit gives a bucket of MinIO's a policy: what others than AccessKey may do there.
func (s *Server) Permit(t testing.TB, bucket, policy string) {
	t.Helper()
	client, err := s.client()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.SetBucketPolicy(t.Context(), bucket, policy); err != nil {
		t.Fatalf("giving a bucket on %s a policy: %v", s.Kind, err)
	}
}

// Kill ends the server as kill -9 does. Its bytes stay as they are on the disk.
func (s *Server) Kill() {
	s.process.end(true)
	s.process = nil
}

// Restart starts a killed server at its old address, over its old bytes.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	path, err := Install(t.Context(), s.Kind)
	if err == nil {
		err = s.run(t.Context(), path)
	}
	if err != nil {
		t.Fatalf("starting %s again: %v", s.Kind, err)
	}
}

// end kills the server, where it runs, and removes its folder.
func (s *Server) end() {
	if s.process != nil {
		s.process.end(false)
		s.process = nil
	}
	os.RemoveAll(s.home)
}
