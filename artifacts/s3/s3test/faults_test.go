package s3test_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
)

// behind is a bucket as it is, and as it looks through a proxy.
func behind(t *testing.T) (f *s3test.Faults, straight, through *minio.Core, bucket string) {
	t.Helper()
	s := s3test.Versity(t)
	f = s3test.Proxy(t, s)
	return f, connect(t, s.Endpoint), connect(t, f.Endpoint), s.Bucket(t)
}

func TestProxyPassesOn(t *testing.T) {
	f, straight, through, bucket := behind(t)
	b := bytes.Repeat([]byte("0123456789"), 1<<16)
	for _, name := range []string{"a/b", "refs/a%2Fb ü.c", "empty"} {
		mustPut(t, through, bucket, name, b)
		mustHave(t, straight, bucket, name, b)
		mustHave(t, through, bucket, name, b)
		b = b[:len(b)/1000]
	}
	if seen := strings.Join(f.Seen(), "\n"); !strings.HasPrefix(seen, "PUT /"+bucket+"/a/b\nGET /"+bucket+"/a/b") {
		t.Errorf("seen %s", seen)
	}
}

func TestFaultsOfAnAnswer(t *testing.T) {
	f, straight, through, bucket := behind(t)
	b := bytes.Repeat([]byte("0123456789"), 1000)
	mustPut(t, straight, bucket, "a", b)
	flipped := bytes.Clone(b)
	flipped[5000] ^= 1
	for name, c := range map[string]struct {
		do   s3test.Fault
		want []byte
		err  error
	}{
		"cut":        {s3test.Cut(5000), b[:5000], io.ErrUnexpectedEOF},
		"cut at all": {s3test.Cut(0), nil, io.ErrUnexpectedEOF},
		"truncated":  {s3test.Truncate(5000), b[:5000], nil},
		"flipped":    {s3test.Flip(5000), flipped, nil},
		"slow":       {s3test.Slow(1 << 20), b, nil},
		"delayed":    {s3test.Delay(time.Millisecond), b, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f.On(s3test.Method(http.MethodGet), 1, c.do)
			got, err := get(t, through, bucket, "a")
			if !bytes.Equal(got, c.want) || fmt.Sprint(err) != fmt.Sprint(c.err) {
				t.Errorf("%d bytes, %v; want %d, %v", len(got), err, len(c.want), c.err)
			}
			mustHave(t, through, bucket, "a", b) // the rule was for one request
		})
	}
}

func TestAnswersThatNoServerGave(t *testing.T) {
	f, straight, through, bucket := behind(t)
	f.On(s3test.Any, 2, s3test.Answer(http.StatusServiceUnavailable, "SlowDown", http.Header{"Retry-After": {"7"}}))
	if err := put(t, through, bucket, "a", []byte("x")); minio.ToErrorResponse(err).Code != "SlowDown" {
		t.Errorf("put = %v", err)
	}
	if _, err := get(t, through, bucket, "a"); minio.ToErrorResponse(err).StatusCode != http.StatusServiceUnavailable {
		t.Errorf("get = %v", err)
	}
	if _, err := get(t, straight, bucket, "a"); minio.ToErrorResponse(err).StatusCode != http.StatusNotFound {
		t.Errorf("the put reached the server: %v", err)
	}
}

func TestALostAnswer(t *testing.T) {
	f, straight, through, bucket := behind(t)
	f.On(s3test.Method(http.MethodPut), 1, s3test.LoseAnswer)
	if err := put(t, through, bucket, "a", []byte("x")); err == nil || minio.ToErrorResponse(err).StatusCode != 0 && minio.ToErrorResponse(err).Code == "" {
		t.Errorf("put = %v", err)
	}
	mustHave(t, straight, bucket, "a", []byte("x"))
}

func TestACutRequest(t *testing.T) {
	f, straight, through, bucket := behind(t)
	for after, size := range map[int64]int{5000: 10000, 0: 10, 50: 10} {
		f.On(s3test.Method(http.MethodPut), 1, s3test.CutRequest(after))
		if err := put(t, through, bucket, "a", make([]byte, size)); err == nil {
			t.Errorf("a request of %d bytes that was cut after %d was answered", size, after)
		}
	}
	if _, err := get(t, straight, bucket, "a"); minio.ToErrorResponse(err).StatusCode != http.StatusNotFound {
		t.Errorf("half an object: %v", err)
	}
}

func TestABlackHole(t *testing.T) {
	f, _, through, bucket := behind(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.On(func(*http.Request) bool {
		cancel() // while the request is in there
		return true
	}, 0, s3test.BlackHole)
	if _, err := through.StatObject(ctx, bucket, "a", minio.StatObjectOptions{}); err == nil {
		t.Error("a black hole answered")
	}
	f.Calm()
	mustPut(t, through, bucket, "a", nil)
}

func TestATurnedClock(t *testing.T) {
	f, straight, through, bucket := behind(t)
	mustPut(t, straight, bucket, "a", nil)
	f.On(s3test.Any, 1, s3test.Clock(-time.Hour))
	var late time.Time
	for _, c := range []*minio.Core{through, straight} {
		r, _, h, err := c.GetObject(t.Context(), bucket, "a", minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		now, err := http.ParseTime(h.Get("Date"))
		if err != nil {
			t.Fatal(err)
		}
		if c == through {
			late = now
		} else if d := now.Sub(late); d < time.Hour-time.Minute || d > time.Hour+time.Minute {
			t.Errorf("turned by %v", d)
		}
	}
}

// TestServersDieWithTheirProcess kills a process that has a server, and looks that a connection to that server ends.
func TestServersDieWithTheirProcess(t *testing.T) {
	if os.Getenv("S3TEST_HOLDS") != "" {
		fmt.Println(s3test.Start(t, s3test.KindVersity).Endpoint)
		_, _ = io.Copy(io.Discard, os.Stdin) // to the end of this process
		return
	}
	holder := exec.Command(os.Args[0], "-test.run", "^TestServersDieWithTheirProcess$")
	holder.Env = append(os.Environ(), "S3TEST_HOLDS=1")
	if _, err := holder.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	var endpoint string
	for lines := bufio.NewScanner(out); endpoint == "" && lines.Scan(); {
		_, address, _ := strings.Cut(lines.Text(), "http://")
		endpoint = address
	}
	to, err := net.Dial("tcp", endpoint)
	if err != nil {
		t.Fatalf("%q: %v", endpoint, err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // it was killed
	for err == nil {  // a server that outlives its process keeps one of these for ever
		_, _ = io.Copy(io.Discard, to)
		to.Close()
		to, err = net.Dial("tcp", endpoint)
	}
}
