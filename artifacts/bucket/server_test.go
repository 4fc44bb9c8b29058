package bucket_test

import (
	"context"
	"crypto/rand"
	"os"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
	"github.com/Ruihan11/tiny-infra/artifacts/s3"
	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
	"github.com/Ruihan11/tiny-infra/artifacts/storetest"
)

func TestMain(m *testing.M) { os.Exit(s3test.Around(m).Run()) }

// client is ours, at a new bucket of a server, which it reaches at the endpoint.
func client(t *testing.T, s *s3test.Server, endpoint string) (c *s3.Client, name string) {
	t.Helper()
	name = s.Bucket(t)
	return connect(t, s, endpoint, name), name
}

func connect(t *testing.T, s *s3test.Server, endpoint, name string) *s3.Client {
	t.Helper()
	s.Setenv(t)
	c, err := s3.New(t.Context(), s3.Config{Bucket: name, Endpoint: endpoint, PathStyle: true, Prefix: "team/a"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// probed is what the client finds out about the server.
func probed(c *s3.Client) func(context.Context) (bucket.Format, error) {
	return func(ctx context.Context) (bucket.Format, error) {
		found, err := c.Probe(ctx, func(s3.Check) {})
		f := bucket.Format{
			Checked:    time.Now(),
			Conditions: bucket.Conditions{Create: found.Create, Multipart: found.Multipart, Replace: found.Replace},
			Listing:    bucket.Unordered,
			Tinfra:     "test",
		}
		if found.Ordered {
			f.Listing = bucket.Ordered
		}
		return f, err
	}
}

// conform runs the suite; each of its tests has a tier of its own.
func conform(t *testing.T, s *s3test.Server) {
	c, _ := client(t, s, s.Endpoint)
	found := create(t, c.Below("main"), bucket.Settings{Note: probed(c.Below("main"))}).Format()
	t.Logf("%s: %+v", s.Kind, found)
	storetest.Run(t, func(t *testing.T) storetest.Place {
		return create(t, c.Below(rand.Text()), bucket.Settings{Note: noted(found)})
	})
}

func TestBucketOnMinIO(t *testing.T) { conform(t, s3test.MinIO(t)) }

func TestBucketOnVersity(t *testing.T) { conform(t, s3test.Versity(t)) }
