package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// home writes files below the test's home folder. Keys of the environment are taken away.
func home(t *testing.T, files map[string]string) string {
	t.Helper()
	keys(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	dir := os.Getenv("HOME")
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCredentialsFromTheUsualPlaces(t *testing.T) {
	file := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n[ci]\naws_access_key_id = CIKEY\naws_secret_access_key = s\n", testKey, testSecret)
	for name, c := range map[string]struct {
		env  map[string]string
		want string
	}{
		"file":        {nil, testKey},
		"profile":     {map[string]string{"AWS_PROFILE": "ci"}, "CIKEY"},
		"environment": {map[string]string{"AWS_ACCESS_KEY_ID": "ENVKEY", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "tok"}, "ENVKEY"},
	} {
		t.Run(name, func(t *testing.T) {
			home(t, map[string]string{".aws/credentials": file})
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			synctest.Test(t, func(t *testing.T) {
				signed, token := "", ""
				client, _ := over(t, newFake(), func(_ int, r *http.Request) trouble {
					signed, token = r.Header.Get("Authorization"), r.Header.Get("X-Amz-Security-Token")
					return nil
				})
				if _, err := client.Write(t.Context(), "x", artifacts.Text(nil), nil); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(signed, "Credential="+c.want+"/") || token != c.env["AWS_SESSION_TOKEN"] {
					t.Errorf("signed by %q with token %q", signed, token)
				}
			})
		})
	}
}

// TestNoCredentials: one sentence that says where was looked, before anything is sent.
func TestNoCredentials(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		env   map[string]string
		words []string
	}{
		"none":             {nil, nil, []string{"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (not set)", `profile "default" in ~/.aws/credentials and ~/.aws/config (not there)`}},
		"half":             {nil, map[string]string{"AWS_ACCESS_KEY_ID": testKey}, []string{"only one of the two is set"}},
		"other profile":    {map[string]string{".aws/credentials": "[default]\naws_access_key_id = a\naws_secret_access_key = b\n"}, map[string]string{"AWS_PROFILE": "ci"}, []string{`profile "ci"`, "does not exist"}},
		"half a profile":   {map[string]string{".aws/credentials": "[default]\naws_secret_access_key = " + testSecret + "\n"}, nil, []string{"partial static credentials"}},
		"broken file":      {map[string]string{".aws/credentials": "[default]\n" + testSecret + "\n"}, nil, []string{"cannot be read"}},
		"program fails":    {map[string]string{".aws/config": "[default]\ncredential_process = /bin/sh -c false\n"}, nil, []string{"credential_process failed: exit status 1"}},
		"program is gone":  {map[string]string{".aws/config": "[default]\ncredential_process = /no/such/program x\n"}, nil, []string{"not there"}},
		"program's answer": {map[string]string{".aws/config": "[default]\ncredential_process = /bin/echo " + testSecret + "\n"}, nil, []string{"cannot be read"}},
	} {
		t.Run(name, func(t *testing.T) {
			home(t, c.files)
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			client, w := over(t, newFake(), nil)
			_, _, err := client.Read(t.Context(), "x", 0, -1)
			if !errors.Is(err, artifacts.ErrRefused) {
				t.Fatalf("got %v", err)
			}
			for _, words := range append(c.words, "no credentials for the shared cache were found") {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("%q is missing in: %v", words, err)
				}
			}
			if strings.Contains(err.Error(), testSecret) || strings.Contains(err.Error(), testKey) {
				t.Errorf("it shows a secret: %v", err)
			}
			if len(w.sent) != 0 {
				t.Errorf("sent %v", w.sent)
			}
		})
	}
}

// program is a credential_process that counts its runs in a file.
func program(t *testing.T, expiration string) (runs func() int) {
	t.Helper()
	dir := home(t, nil)
	script := filepath.Join(dir, "keys.sh")
	text := fmt.Sprintf("#!/bin/sh\necho run >> %[1]s/runs\nn=$(wc -l < %[1]s/runs)\necho '{\"Version\":1,\"AccessKeyId\":\"KEY'$n'\",\"SecretAccessKey\":\"s\"%s}'\n", dir, expiration)
	for name, text := range map[string]string{script: text, filepath.Join(dir, ".aws/config"): "[default]\ncredential_process = " + script + " now\n"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return func() int {
		b, _ := os.ReadFile(filepath.Join(dir, "runs"))
		return strings.Count(string(b), "run")
	}
}

// TestExpiredCredentialsAreRenewed: by their own date before it comes, and by the server's word.
func TestExpiredCredentialsAreRenewed(t *testing.T) {
	runs := program(t, `,"Expiration":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"`)
	f := newFake()
	signers := ""
	c, w := over(t, f, func(_ int, r *http.Request) trouble {
		_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
		key, _, _ := strings.Cut(rest, "/")
		signers += key + " "
		if key == "KEY1" && strings.Count(signers, "KEY1") > 2 {
			return answers(400, "ExpiredToken")
		}
		return nil
	})
	for range 4 {
		if _, err := c.Write(t.Context(), "x", artifacts.Text([]byte("v")), nil); err != nil {
			t.Fatal(err)
		}
	}
	if signers != "KEY1 KEY1 KEY1 KEY2 KEY2 " || runs() != 2 || len(w.sent) != 5 {
		t.Errorf("signed by %s, the program ran %d times", signers, runs())
	}
	c.wallet.mu.Lock()
	c.wallet.renewAt = time.Now()
	c.wallet.mu.Unlock()
	if _, err := c.Write(t.Context(), "x", artifacts.Text([]byte("v")), nil); err != nil || runs() != 3 {
		t.Errorf("%v, the program ran %d times", err, runs())
	}
}

// Keys without an end are asked for once.
func TestCredentialsWithoutAnEnd(t *testing.T) {
	runs := program(t, "")
	c, _ := over(t, newFake(), nil)
	for range 5 {
		if _, err := c.Write(t.Context(), "x", artifacts.Text([]byte("v")), nil); err != nil {
			t.Fatal(err)
		}
	}
	if runs() != 1 {
		t.Errorf("the program ran %d times", runs())
	}
}

// They are renewed five minutes early, or when a fifth of their life is left.
func TestWhenCredentialsAreRenewed(t *testing.T) {
	for life, want := range map[time.Duration]time.Duration{time.Hour: 55 * time.Minute, 10 * time.Minute: 8 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := &wallet{}
			if !w.IsExpired() {
				t.Error("a wallet that was never filled is not expired")
			}
			v := w.value
			v.Expiration = time.Now().Add(life)
			w.keep(v, nil)
			<-time.After(want - time.Second)
			early := w.IsExpired()
			<-time.After(time.Second)
			if early || !w.IsExpired() {
				t.Errorf("a life of %v does not end after %v", life, want)
			}
		})
	}
}

// Where that is allowed, a bucket is asked without credentials rather than not at all; what is refused then is told with where they were
// looked for. Credentials that are there sign.
func TestAnonymousWhereThereAreNoCredentials(t *testing.T) {
	home(t, nil)
	f := newFake()
	f.put("x", "everybody's")
	signed := ""
	w := &wireTo{to: f, trouble: func(_ int, r *http.Request) trouble {
		signed = r.Header.Get("Authorization")
		if r.Method == http.MethodPut {
			return answers(http.StatusForbidden, "AccessDenied")
		}
		return nil
	}}
	client := func() *Client {
		c, err := New(t.Context(), Config{Bucket: "box", Endpoint: "http://127.0.0.1:9", Transport: w, Anonymous: true})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := client()
	if o, _, err := c.stat(t.Context(), "x"); err != nil || o.Size == 0 || signed != "" {
		t.Errorf("%+v, %v; signed by %q", o, err, signed)
	}
	_, err := c.Write(t.Context(), "x", artifacts.Text(nil), nil)
	if !errors.Is(err, artifacts.ErrRefused) || !strings.Contains(err.Error(), "without credentials") || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Errorf("it does not say why: %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", testKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", testSecret)
	_, err = client().Write(t.Context(), "x", artifacts.Text(nil), nil)
	if !strings.Contains(signed, testKey) || !strings.Contains(err.Error(), "read_only") {
		t.Errorf("signed by %q: %v", signed, err)
	}
}

// A credential_process that hangs is ended, with those that it has started, and named.
func TestCredentialProcessThatHangs(t *testing.T) {
	dir := home(t, nil)
	begun := filepath.Join(dir, "begun")
	if err := syscall.Mkfifo(begun, 0o600); err != nil {
		t.Fatal(err)
	}
	home := map[string]string{".aws/config": "[profile lab]\ncredential_process = exec 3> '" + begun + "' && echo begun >&3 && sleep 1000 && echo too late\n"}
	for name, text := range home {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_PROFILE", "lab")
	w := usualPlaces(Config{Endpoint: "http://127.0.0.1:9", Anonymous: true})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	gone := make(chan error, 1)
	go func() { // received from below
		f, err := os.Open(begun)
		if err == nil {
			_, err = f.Read(make([]byte, 1))
			cancel(errHung)
			_, rest := io.Copy(io.Discard, f) // until nobody is left who could write
			err = errors.Join(err, rest, f.Close())
		}
		gone <- err
	}()
	_, err := w.RetrieveWithCredContext(&credentials.CredContext{Context: ctx})
	if !errors.Is(err, artifacts.ErrRefused) || !strings.Contains(err.Error(), `profile "lab"`) || !strings.Contains(err.Error(), "credential_process: no answer for 1m0s") {
		t.Errorf("it is told as %v", err)
	}
	if err := <-gone; err != nil {
		t.Error(err)
	}
}

// What the files say besides a credential_process goes before it, as in AWS's own tools.
func TestCredentialProcessOfAProfile(t *testing.T) {
	keys := "aws_access_key_id = FILE\naws_secret_access_key = s\n"
	answer := func(id string) string {
		return `credential_process = echo '{"Version": 1, "AccessKeyId": "` + id + `", "SecretAccessKey": "s p a c e"}'` + "\n"
	}
	for name, c := range map[string]struct{ config, credentials, profile, want string }{
		"in the configuration":   {"[default]\n" + answer("A"), "", "", "A"},
		"of a profile":           {"[default]\n" + answer("A") + "[profile ci]\n" + answer("B"), "", "ci", "B"},
		"in the other file":      {"[default]\n" + answer("A"), "[default]\n" + answer("B"), "", "B"},
		"keys go before it":      {"[default]\n" + answer("A"), "[default]\n" + keys, "", "FILE"},
		"not of another profile": {"[ci]\n" + answer("A"), "[ci]\n" + keys, "ci", "FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			home(t, map[string]string{".aws/config": c.config, ".aws/credentials": c.credentials})
			t.Setenv("AWS_PROFILE", c.profile)
			v, err := usualPlaces(Config{Endpoint: "http://127.0.0.1:9"}).Retrieve()
			if err != nil || v.AccessKeyID != c.want {
				t.Errorf("%q, %v; want %q", v.AccessKeyID, err, c.want)
			}
		})
	}
}
