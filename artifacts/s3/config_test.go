package s3

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

func TestConfigThatCannotBe(t *testing.T) {
	keys(t)
	garbage := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(garbage, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		config Config
		words  string
	}{
		"no bucket":        {Config{}, "name of a bucket"},
		"bad bucket":       {Config{Bucket: "A/b"}, `"A/b"`},
		"password":         {Config{Bucket: "box", Endpoint: "https://me:hush-hush@host"}, "credentials in it"},
		"bad password":     {Config{Bucket: "box", Endpoint: "https://me:hush-hush%zz@host"}, "no URL"},
		"scheme":           {Config{Bucket: "box", Endpoint: "ftp://host"}, `"ftp"`},
		"path":             {Config{Bucket: "box", Endpoint: "https://host/box"}, "nothing behind it"},
		"query":            {Config{Bucket: "box", Endpoint: "https://host?x=y"}, "nothing behind it"},
		"no host":          {Config{Bucket: "box", Endpoint: "https://"}, "nothing behind it"},
		"host":             {Config{Bucket: "box", Endpoint: "https://a_b c"}, "endpoint"},
		"prefix":           {Config{Bucket: "box", Prefix: "a/../b"}, `".."`},
		"prefix, empty":    {Config{Bucket: "box", Prefix: "a//b"}, `""`},
		"prefix, chars":    {Config{Bucket: "box", Prefix: "a\x00b"}, "characters"},
		"certificate":      {Config{Bucket: "box", CA: garbage}, "no certificate"},
		"certificate gone": {Config{Bucket: "box", CA: garbage + "x"}, "reading the certificates"},
	} {
		_, err := New(t.Context(), c.config)
		if err == nil || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhereRequestsGo: host, path and the region that is signed for.
func TestWhereRequestsGo(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		env    string
		url    string
		region string
	}{
		"amazon":         {Config{Region: "eu-west-1"}, "", "https://box.s3.dualstack.eu-west-1.amazonaws.com/p/x", "eu-west-1"},
		"amazon by env":  {Config{}, "eu-west-2", "https://box.s3.dualstack.eu-west-2.amazonaws.com/p/x", "eu-west-2"},
		"amazon by path": {Config{Region: "eu-west-1", PathStyle: true}, "", "https://s3.dualstack.eu-west-1.amazonaws.com/box/p/x", "eu-west-1"},
		"by path":        {Config{Endpoint: "https://minio.example.org:9000", PathStyle: true}, "", "https://minio.example.org:9000/box/p/x", "us-east-1"},
		"by host":        {Config{Endpoint: "https://minio.example.org:9000"}, "", "https://box.minio.example.org:9000/p/x", "us-east-1"},
		"no scheme":      {Config{Endpoint: "minio.example.org", PathStyle: true}, "", "https://minio.example.org/box/p/x", "us-east-1"},
		"address":        {Config{Endpoint: "http://127.0.0.1:9000/"}, "", "http://127.0.0.1:9000/box/p/x", "us-east-1"},
		"IPv6":           {Config{Endpoint: "http://[::1]:9000"}, "", "http://[::1]:9000/box/p/x", "us-east-1"},
		"localhost":      {Config{Endpoint: "http://localhost:9000", Region: "r"}, "q", "http://localhost:9000/box/p/x", "r"},
	} {
		t.Run(name, func(t *testing.T) {
			keys(t)
			t.Setenv("AWS_REGION", c.env)
			w := &wireTo{to: newFake()}
			got, region := "", ""
			w.trouble = func(_ int, r *http.Request) trouble {
				got = r.URL.String()
				region = r.Header.Get("Authorization")
				return answers(404, "NoSuchKey")
			}
			c.config.Bucket, c.config.Prefix, c.config.Transport = "box", "/p/", w
			client, err := New(t.Context(), c.config)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := client.Read(t.Context(), "x", 0, -1); !errors.Is(err, artifacts.ErrMissing) {
				t.Error(err)
			}
			if got != c.url || !strings.Contains(region, "/"+c.region+"/s3/") {
				t.Errorf("asked %s with %s", got, region)
			}
			if len(w.sent) != 1 {
				t.Errorf("sent %v", w.sent)
			}
		})
	}
}

// TestTLS: an unknown certificate is told at once, and known by the file that says so.
func TestTLS(t *testing.T) {
	keys(t)
	f := newFake()
	s := httptest.NewUnstartedServer(f)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of the handshakes that are to fail
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.StartTLS()
	defer s.Close()
	stranger, err := New(t.Context(), Config{Bucket: "box", Endpoint: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stranger.Write(t.Context(), "x", artifacts.Text([]byte("v")), nil)
	if !errors.Is(err, artifacts.ErrUnreachable) || !strings.Contains(err.Error(), "certificate") || stranger.Requests() != 1 {
		t.Errorf("%v after %d requests", err, stranger.Requests())
	}
	plain, err := New(t.Context(), Config{Bucket: "box", Endpoint: "http://" + s.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = plain.Write(t.Context(), "x", artifacts.Text([]byte("v")), nil); err == nil { // the server closes before it has read all, so what arrives is luck
		t.Error("an HTTPS server took a request over HTTP")
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := New(t.Context(), Config{Bucket: "box", Endpoint: s.URL, CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(t.Context(), "x", artifacts.Text([]byte("v")), &absent); err != nil || f.get("x") != "v" {
		t.Error(err)
	}
}

func TestBelow(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c, _ := over(t, f, nil)
		main := c.Below("team").Below("/main/")
		if _, err := main.Write(t.Context(), "keys/k", artifacts.Text([]byte("v")), nil); err != nil {
			t.Fatal(err)
		}
		if f.get("team/main/keys/k") != "v" || main.String() != "s3://box/team/main/" || main.Requests() != c.Requests() {
			t.Errorf("%s has sent %d requests", main, main.Requests())
		}
	})
}
