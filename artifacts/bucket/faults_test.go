package bucket_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"math"
	randv2 "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
	"github.com/Ruihan11/tiny-infra/artifacts/storetest"
)

// stormy makes one request in five fail, in ways that are drawn from a fixed seed.
func stormy(f *s3test.Faults) {
	draw := randv2.New(randv2.NewPCG(7, 7))
	for _, fault := range []s3test.Fault{
		s3test.Answer(http.StatusServiceUnavailable, "SlowDown", nil),
		s3test.Answer(http.StatusInternalServerError, "InternalError", nil),
		s3test.Delay(5 * time.Millisecond),
		s3test.Cut(10),
		s3test.CutRequest(1),
		s3test.LoseAnswer,
	} {
		f.On(func(*http.Request) bool { return draw.IntN(30) == 0 }, 0, fault)
	}
}

// Whatever breaks on the way, a place does what a place must.
func TestBucketBehindFaults(t *testing.T) {
	for _, s := range []*s3test.Server{s3test.MinIO(t), s3test.Versity(t)} {
		t.Run(s.Kind, func(t *testing.T) {
			f := s3test.Proxy(t, s)
			c, _ := client(t, s, f.Endpoint)
			stormy(f)
			storetest.Run(t, func(t *testing.T) storetest.Place {
				return create(t, c.Below(rand.Text()), bucket.Settings{Note: noted(sound())})
			}, storetest.EveryIncrementCounts)
		})
	}
}

// Of machines that publish one key at once exactly one wins, round after round, and all others know.
func TestRacingCreators(t *testing.T) {
	rounds := 50
	if os.Getenv("TINFRA_SOAK") != "" {
		rounds = 1000
	}
	for _, s := range []*s3test.Server{s3test.MinIO(t), s3test.Versity(t)} {
		t.Run(s.Kind, func(t *testing.T) {
			c, _ := client(t, s, s.Endpoint)
			var places []*bucket.Place
			for range 8 {
				places = append(places, create(t, c.Below("main"), bucket.Settings{Note: noted(sound())}))
			}
			for round := range rounds {
				name := "keys/" + strconv.Itoa(round)
				errs := make(chan error, len(places))
				for i, p := range places {
					go func() {
						_, err := p.Set(t.Context(), name, []byte(strconv.Itoa(i)), artifacts.Absent)
						errs <- err
					}()
				}
				won := 0
				for range places {
					if err := <-errs; err == nil {
						won++
					} else if !errors.Is(err, artifacts.ErrConflict) {
						t.Error(err)
					}
				}
				if won != 1 {
					t.Errorf("round %d: %d winners", round, won)
				}
			}
		})
	}
}

// A bit that turned on the server's disk is served by some servers as if it were right.
func TestFlippedBitOnTheServersDisk(t *testing.T) {
	s := s3test.Versity(t)
	c, name := client(t, s, s.Endpoint)
	p := create(t, c, bucket.Settings{Note: noted(sound())})
	b := bytes.Repeat([]byte("0123456789"), 1<<15)
	blob := blobOf(b)
	put := func() {
		t.Helper()
		if err := p.Put(t.Context(), blob, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
	}
	read := func() error {
		r, err := p.Open(t.Context(), blob.Digest, 0, -1)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(io.Discard, r)
		return err
	}
	put()
	file := filepath.Join(s.Dir(), name, "team", "a", "blobs", "sha256", blob.Digest.Hex())
	flip(t, file, int64(len(b))/2)
	if err := read(); !errors.Is(err, artifacts.ErrDamaged) {
		t.Errorf("reading what was flipped: %v", err)
	}
	put()
	if err := read(); err != nil {
		t.Errorf("after it was stored again: %v", err)
	}
}

func flip(t *testing.T, file string, at int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// The whole way: the probe finds that a server ignores conditions, and the place refuses it.
func TestCarelessServerIsRefused(t *testing.T) {
	s := s3test.Careless(t)
	c := connect(t, s, s.Endpoint, "a-bucket")
	if _, err := bucket.Create(t.Context(), c, bucket.Settings{Note: probed(c)}); !errors.Is(err, bucket.ErrNoConditions) {
		t.Fatalf("Create = %v", err)
	}
	for o, err := range c.Walk(t.Context(), "", "") {
		t.Errorf("left behind: %v, %v", o.Name, err)
	}
	p := create(t, c, bucket.Settings{Note: probed(c), SingleWriter: true})
	setAsIfAlone(t, p)
}

// The age of a lease is what the server's clock says, on a real server: here a clock that is turned through the proxy.
func TestLeaseOnAServer(t *testing.T) {
	for _, s := range []*s3test.Server{s3test.MinIO(t), s3test.Versity(t)} {
		t.Run(s.Kind, func(t *testing.T) {
			f := s3test.Proxy(t, s)
			straight, name := client(t, s, s.Endpoint)
			through := connect(t, s, f.Endpoint, name)
			a, b := create(t, straight, bucket.Settings{Note: noted(sound())}), create(t, through, bucket.Settings{})
			first := lease(t, a, `{"host":"a"}`, nil)
			cause := errors.New("has waited")
			ctx, cancel := context.WithCancelCause(t.Context())
			if _, err := b.Lease(ctx, stage, []byte(`{"host":"b"}`), func([]byte) { cancel(cause) }, nil); !errors.Is(err, cause) {
				t.Errorf("the lease of a holder that lives: %v", err)
			}
			f.On(s3test.Method(http.MethodGet), 0, s3test.Clock(2*time.Minute))
			second := lease(t, b, `{"host":"b"}`, nil)
			if val, _, err := a.Get(t.Context(), leasedAs); err != nil || !strings.Contains(string(val), `"host":"b"`) {
				t.Errorf("the other's lease is %s, %v", val, err)
			}
			if err := errors.Join(second.Release(t.Context()), first.Release(t.Context())); err != nil {
				t.Error(err)
			}
			if _, _, err := a.Get(t.Context(), leasedAs); !errors.Is(err, artifacts.ErrMissing) {
				t.Errorf("left behind: %v", err)
			}
		})
	}
}

// A range cannot ask for more than there is, nor overflow.
func TestOpenAtTheEdges(t *testing.T) {
	s := s3test.MinIO(t)
	c, _ := client(t, s, s.Endpoint)
	p := create(t, c, bucket.Settings{Note: noted(sound())})
	blob := blobOf([]byte("0123456789"))
	if err := p.Put(t.Context(), blob, bytes.NewReader([]byte("0123456789"))); err != nil {
		t.Fatal(err)
	}
	r, err := p.Open(t.Context(), blob.Digest, 9, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "9" {
		t.Errorf("got %q, %v", got, err)
	}
}
