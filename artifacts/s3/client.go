package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// Client is artifacts.Objects on a server. It may be used by many goroutines.
type Client struct {
	*server
	root string // what all names begin with: "" or a folder with its slash
}

// server is what clients of one bucket have in common.
type server struct {
	core     *minio.Core
	bucket   string
	wallet   *wallet
	keys     *credentials.Credentials // the wallet, as minio-go holds it
	wire     *wire
	stall    time.Duration
	patience time.Duration
}

// New makes a client. It sends no request: an address that nobody answers at is told by the first call.
func New(_ context.Context, c Config) (*Client, error) {
	if c.Bucket == "" {
		return nil, errors.New("the shared cache needs the name of a bucket")
	}
	if err := s3utils.CheckValidBucketName(c.Bucket); err != nil {
		return nil, fmt.Errorf("the bucket of the shared cache, %q: %w", c.Bucket, err)
	}
	folder, err := root(c.Prefix)
	if err != nil {
		return nil, err
	}
	host, secure, err := c.server()
	if err != nil {
		return nil, err
	}
	network, err := c.network()
	if err != nil {
		return nil, err
	}
	s := &server{bucket: c.Bucket, wallet: usualPlaces(c), stall: c.Stall, patience: c.Patience}
	s.wire = &wire{network: network, wallet: s.wallet}
	if s.stall <= 0 {
		s.stall = defaultStall
	}
	if s.patience <= 0 {
		s.patience = defaultPatience
	}
	s.keys = credentials.New(s.wallet)
	s.core, err = minio.NewCore(host, &minio.Options{
		Creds: s.keys, Secure: secure, Transport: s.wire, Region: c.region(), BucketLookup: c.style(host),
		MaxRetries: 1, // ours know what a lost answer is, and have the patience
	})
	if err != nil {
		return nil, fmt.Errorf("the endpoint of the shared cache: %w", err)
	}
	return &Client{s, folder}, nil
}

// Below is the same bucket, with names below a folder of this one's.
func (c *Client) Below(folder string) *Client {
	return &Client{c.server, c.root + strings.Trim(folder, "/") + "/"}
}

// String is where names of this client lie, for people.
func (c *Client) String() string { return "s3://" + c.bucket + "/" + c.root }

// Requests counts the HTTP requests that were sent, repeats and those that failed among them; requests for credentials are not counted.
func (c *Client) Requests() int64 { return c.wire.requests.Load() }
