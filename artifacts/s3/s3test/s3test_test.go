package s3test_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
)

func TestMain(m *testing.M) { os.Exit(s3test.Around(m).Run()) }

// TestInstall is what `make servers` runs: it builds what is not there yet.
func TestInstall(t *testing.T) {
	for _, kind := range []string{s3test.KindMinIO, s3test.KindVersity} {
		path, err := s3test.Install(t.Context(), kind)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	if _, err := s3test.Install(t.Context(), "gopher"); err == nil {
		t.Error("a server that nobody knows was installed")
	}
}

func connect(t *testing.T, endpoint string) *minio.Core {
	t.Helper()
	c, err := minio.NewCore(strings.TrimPrefix(endpoint, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(s3test.AccessKey, s3test.SecretKey, ""), Region: s3test.Region, MaxRetries: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func put(t *testing.T, c *minio.Core, bucket, name string, b []byte) error {
	t.Helper()
	_, err := c.PutObject(t.Context(), bucket, name, bytes.NewReader(b), int64(len(b)), "", "", minio.PutObjectOptions{})
	return err
}

func get(t *testing.T, c *minio.Core, bucket, name string) ([]byte, error) {
	t.Helper()
	r, _, _, err := c.GetObject(t.Context(), bucket, name, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func mustPut(t *testing.T, c *minio.Core, bucket, name string, b []byte) {
	t.Helper()
	if err := put(t, c, bucket, name, b); err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
}

func mustHave(t *testing.T, c *minio.Core, bucket, name string, want []byte) {
	t.Helper()
	if got, err := get(t, c, bucket, name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("get %s = %d bytes, %v; want %d", name, len(got), err, len(want))
	}
}

func TestServersKeepBytesOverAKill(t *testing.T) {
	for _, kind := range []string{s3test.KindMinIO, s3test.KindVersity} {
		t.Run(kind, func(t *testing.T) {
			s := s3test.Start(t, kind)
			bucket, c, b := s.Bucket(t), connect(t, s.Endpoint), bytes.Repeat([]byte("0123456789"), 1<<15)
			mustPut(t, c, bucket, "a/b", b)
			if _, err := os.Stat(s.Dir() + "/" + bucket + "/a/b"); err != nil {
				t.Errorf("its bytes lie elsewhere: %v", err)
			}
			s.Kill()
			if err := put(t, c, bucket, "a/c", b); err == nil {
				t.Error("a killed server answered")
			}
			s.Restart(t)
			mustHave(t, c, bucket, "a/b", b)
		})
	}
}

// Servers with a certificate of their own are for those who trust it, and for nobody else.
func TestServersWithTLS(t *testing.T) {
	for _, kind := range []string{s3test.KindMinIO, s3test.KindVersity} {
		t.Run(kind, func(t *testing.T) {
			s := s3test.StartTLS(t, kind)
			s.Bucket(t)
			c, err := tls.Dial("tcp", strings.TrimPrefix(s.Endpoint, "https://"), nil)
			var unknown x509.UnknownAuthorityError
			if !errors.As(err, &unknown) {
				t.Errorf("a stranger got %v, %v", c, err)
			}
		})
	}
}

func TestServersRefuseOtherCredentials(t *testing.T) {
	for _, s := range []*s3test.Server{s3test.MinIO(t), s3test.Versity(t)} {
		c, err := minio.NewCore(strings.TrimPrefix(s.Endpoint, "http://"), &minio.Options{
			Creds: credentials.NewStaticV4(s3test.AccessKey, "of somebody else", ""), Region: s3test.Region, MaxRetries: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := put(t, c, s.Bucket(t), "a", nil); err == nil {
			t.Errorf("%s let anyone in", s.Kind)
		}
		if s != s3test.MinIO(t) && s != s3test.Versity(t) {
			t.Errorf("%s was started twice", s.Kind)
		}
	}
}

func TestCarelessIgnoresConditions(t *testing.T) {
	c := connect(t, s3test.Careless(t).Endpoint)
	first := minio.PutObjectOptions{}
	first.SetMatchETagExcept("*")
	for _, val := range []string{"one", "two"} {
		if _, err := c.PutObject(t.Context(), "bucket", "a/x", strings.NewReader(val), 3, "", "", first); err != nil {
			t.Fatal(err)
		}
	}
	mustHave(t, c, "bucket", "a/x", []byte("two"))
	mustPut(t, c, "bucket", "a-b/x", nil)
	var names []string
	for o := range c.ListObjectsIter(t.Context(), "bucket", minio.ListObjectsOptions{Prefix: "a", Recursive: true, MaxKeys: 1}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		names = append(names, o.Key)
	}
	if strings.Join(names, " ") != "a-b/x a/x" {
		t.Errorf("listed %q", names)
	}
	opts := minio.GetObjectOptions{}
	if err := opts.SetRange(1, 1); err != nil {
		t.Fatal(err)
	}
	r, _, h, err := c.GetObject(t.Context(), "bucket", "a/x", opts)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "w" || h.Get("Content-Range") != "bytes 1-1/3" {
		t.Errorf("a range came as %q, %v, %v", got, h, err)
	}
	if err := c.RemoveObject(t.Context(), "bucket", "a/x", minio.RemoveObjectOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := c.StatObject(t.Context(), "bucket", "a/x", minio.StatObjectOptions{}); minio.ToErrorResponse(err).StatusCode != 404 {
		t.Errorf("after it was removed: %v", err)
	}
	multipart(t, c)
}

func multipart(t *testing.T, c *minio.Core) {
	t.Helper()
	b := bytes.Repeat([]byte("part"), 1<<18)
	id, err := c.NewMultipartUpload(t.Context(), "bucket", "m", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var parts []minio.CompletePart
	for n := 1; n <= 2; n++ {
		p, err := c.PutObjectPart(t.Context(), "bucket", "m", id, n, bytes.NewReader(b), int64(len(b)), minio.PutObjectPartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, minio.CompletePart{PartNumber: n, ETag: p.ETag})
	}
	if _, err := c.CompleteMultipartUpload(t.Context(), "bucket", "m", id, parts, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	mustHave(t, c, "bucket", "m", append(b, b...))
}
