package s3

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/minio/minio-go/v7"
)

const (
	defaultStall    = 30 * time.Second
	defaultPatience = 2 * time.Minute
	// firstPatience is that with a server which has not answered this process once: that is a wrong address or a server that is down more
	// often than one that is being restarted, and the user waits for the first word.
	firstPatience = 10 * time.Second
	// rottenPatience is that with one object that the server begins to give, or says it cannot read. No waiting mends a disk; what is short of
	// it are servers that are being started.
	rottenPatience = 20 * time.Second
	dialPatience   = 10 * time.Second

	amazon = "s3.amazonaws.com"
)

// Config says where the bucket is. Credentials are not part of it: they come from the usual places of AWS.
type Config struct {
	Bucket   string
	Endpoint string // http(s)://host:port; without a scheme https; "" is AWS
	Region   string // "": AWS_REGION, AWS_DEFAULT_REGION, else us-east-1 where there is an endpoint, else the bucket is asked
	Prefix   string // folder in the bucket; may be ""
	CA       string // file of PEM certificates that are trusted besides those of the system

	Anonymous bool // where no credentials are found, requests are sent without any: for buckets that everybody may read

	PathStyle bool // the bucket is in the path, not in the host name; always so where the host is an address

	Stall    time.Duration // without any byte for so long a try is given up; 0: 30 s
	Patience time.Duration // without any progress for so long the call is given up; 0: 2 min

	Transport http.RoundTripper // instead of the network, in tests
}

// server is the host with its port, and whether it speaks TLS.
func (c Config) server() (host string, secure bool, err error) {
	if c.Endpoint == "" {
		return amazon, true, nil
	}
	text := c.Endpoint
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "", false, errors.New("the endpoint is no URL such as https://minio.example.org:9000") // url.Error would repeat a password in it
	case u.User != nil:
		return "", false, errors.New("the endpoint has credentials in it; they belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or ~/.aws/credentials")
	case u.Scheme != "http" && u.Scheme != "https":
		return "", false, fmt.Errorf("the endpoint begins with %q; http or https are known", u.Scheme)
	case u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return "", false, fmt.Errorf("the endpoint %q must be a host and perhaps a port, nothing behind it", c.Endpoint)
	}
	return u.Host, u.Scheme == "https", nil
}

// region is "" where the bucket has to be asked for it, which takes a request and a permission.
func (c Config) region() string {
	region := cmp.Or(c.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"))
	if region == "" && c.Endpoint != "" {
		return "us-east-1"
	}
	return region
}

// style is how the bucket is addressed.
func (c Config) style(host string) minio.BucketLookupType {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	_, notAddress := netip.ParseAddr(strings.Trim(name, "[]"))
	switch {
	case c.PathStyle || notAddress == nil || name == "localhost":
		return minio.BucketLookupPath
	case c.Endpoint == "":
		return minio.BucketLookupAuto // a bucket with dots in its name does not fit into Amazon's certificate
	}
	return minio.BucketLookupDNS
}

// root is the prefix as names begin with it: "" or something that ends in a slash.
func root(prefix string) (string, error) {
	trimmed := strings.Trim(prefix, "/")
	if trimmed == "" {
		return "", nil
	}
	for part := range strings.SplitSeq(trimmed, "/") {
		if part == "" || part == "." || part == ".." {
			return "", fmt.Errorf("the prefix %q has a part %q", prefix, part)
		}
	}
	if !utf8.ValidString(trimmed) || strings.ContainsFunc(trimmed, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f }) {
		return "", fmt.Errorf("the prefix %q has characters that names cannot have", prefix)
	}
	return trimmed + "/", nil
}

// network is what requests go through. It speaks HTTP/1.1 only: many connections carry more than the streams of one.
func (c Config) network() (http.RoundTripper, error) {
	if c.Transport != nil {
		return c.Transport, nil
	}
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialPatience, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: dialPatience,
		MaxIdleConns:        128,
		MaxIdleConnsPerHost: 64, // as many as requests run at once, or each would dial anew
		IdleConnTimeout:     time.Minute,
		WriteBufferSize:     64 << 10, // packs are megabytes: fewer system calls than with 4 KiB
		ReadBufferSize:      64 << 10,
		DisableCompression:  true, // bytes are taken as they lie there
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if c.CA == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("reading the certificates of the shared cache: %w", err)
	}
	known, err := x509.SystemCertPool()
	if err != nil {
		known = x509.NewCertPool()
	}
	if !known.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM", c.CA)
	}
	t.TLSClientConfig.RootCAs = known
	return t, nil
}
