package s3

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

func TestPermanentErrorsAreToldAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		trouble trouble
		want    error
		words   string
	}{
		"403":           {answers(403, "AccessDenied"), artifacts.ErrRefused, "s3:PutObject"},
		"401":           {answers(401, "Unauthorized"), artifacts.ErrRefused, "s3:PutObject"},
		"bad signature": {answers(403, "SignatureDoesNotMatch"), artifacts.ErrRefused, "credentials are wrong"},
		"400":           {answers(400, "InvalidArgument"), artifacts.ErrRefused, "InvalidArgument"},
		"501":           {answers(501, "NotImplemented"), artifacts.ErrRefused, "NotImplemented"},
		"disk is full":  {answers(507, "XMinioStorageFull"), artifacts.ErrRefused, "XMinioStorageFull"},
		"other region":  {answers(301, "PermanentRedirect", "X-Amz-Bucket-Region", "eu-west-3"), artifacts.ErrRefused, "eu-west-3"},
		"no bucket":     {answers(404, "NoSuchBucket"), artifacts.ErrRefused, `a bucket "box"`},
		"unknown key":   {answers(404, "InvalidAccessKeyId"), artifacts.ErrRefused, "credentials are wrong"},
		"name is taken": {answers(409, "ObjectParentIsFile"), artifacts.ErrRefused, "ObjectParentIsFile"},
		"certificate":   {fails(x509.UnknownAuthorityError{}), artifacts.ErrUnreachable, "unknown authority"},
		"host":          {fails(&net.DNSError{Err: "no such host", IsNotFound: true}), artifacts.ErrUnreachable, "no such host"},
		"clock":         {answers(403, "RequestTimeTooSkewed", "Date", "Fri, 31 Dec 1999 15:04:05 GMT"), artifacts.ErrRefused, "8h55m55s ahead of the server's"},
	} {
		t.Run(name, func(t *testing.T) {
			keys(t)
			synctest.Test(t, func(t *testing.T) {
				client, w := over(t, newFake(), always(c.trouble))
				_, err := client.Write(t.Context(), "x", artifacts.Text([]byte("v")), nil)
				if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.words) {
					t.Errorf("got %v", err)
				}
				if errors.Is(err, artifacts.ErrMissing) {
					t.Error("it looks like a miss")
				}
				if len(w.sent) != 1 {
					t.Errorf("sent %v", w.sent)
				}
			})
		})
	}
}

// A 4xx whose body breaks off may be anything, so it is asked again; but not for ever, and a broken 404 is no miss.
func TestErrorsThatBreakOff(t *testing.T) {
	keys(t)
	broken := func(n int64) trouble {
		return func(w *wireTo, r *http.Request) (*http.Response, error) {
			resp, err := answers(404, "NoSuchBucket")(w, r)
			if err == nil {
				resp.Body = &cutBody{io.LimitReader(resp.Body, n), resp.Body, r, errReset}
			}
			return resp, err
		}
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("x", "hello")
		c, w := over(t, f, first(broken(10), broken(0)))
		if got, err := readAll(t, c, "x"); err != nil || got != "hello" {
			t.Errorf("read %q, %v", got, err)
		}
		w.sent, w.trouble = nil, always(broken(10))
		if _, err := readAll(t, c, "x"); !errors.Is(err, artifacts.ErrRefused) || errors.Is(err, artifacts.ErrMissing) || len(w.sent) != 3 {
			t.Errorf("%v after %v", err, w.sent)
		}
	})
}

// TestErrorsHaveNoCredentials: servers repeat what they were sent.
func TestErrorsHaveNoCredentials(t *testing.T) {
	const token = "FwoGZXIvYXdzEXAMPLETOKEN=="
	for _, status := range []int{400, 403, 500, 200} {
		keys(t)
		t.Setenv("AWS_SESSION_TOKEN", token)
		synctest.Test(t, func(t *testing.T) {
			echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(status)
				fmt.Fprintf(w, "<Error><Code>X</Code><Message>%s with %s: %s</Message></Error> %v", testKey, testSecret, token, r.Header)
			})
			c, _ := over(t, echo, nil)
			_, err := c.Write(t.Context(), "x", artifacts.Text([]byte("v")), &absent)
			_, _, err2 := c.Read(t.Context(), "x", 0, -1)
			for _, err := range []error{err, err2} {
				for _, secret := range []string{testKey, testSecret, token} {
					if err != nil && strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
						t.Errorf("%d: the error has credentials in it: %v", status, err)
					}
				}
			}
			if err2 == nil || status == 403 && !strings.Contains(err2.Error(), "… with …: …") {
				t.Errorf("%d: the server's words are not told: %v", status, err2)
			}
		})
	}
}
