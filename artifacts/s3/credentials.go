package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

const (
	fetchPatience = time.Minute     // for a credential_process or a token service
	earlyRenewal  = 5 * time.Minute // credentials are renewed before they expire, but not with more than a fifth of their life left
)

// source is one place that credentials may come from.
type source struct {
	name     string
	provider credentials.Provider
}

// wallet is a credentials.Provider that takes the first source which has any. minio-go's own chain drops the reasons why none had, and
// then asks without credentials.
type wallet struct {
	sources   []source
	anonymous bool         // where none has any, requests are not signed
	client    *http.Client // for token services: requests for credentials are not watched, nor counted, as those of the bucket

	mu         sync.Mutex
	value      credentials.Value
	renewAt    time.Time      // zero: these do not expire
	missing    *noCredentials // why requests are not signed; nil where they are
	generation int            // counts what was retrieved, so that of many calls that were told of an expiry one renews
}

// usualPlaces are those of AWS. The metadata service of a machine is asked only on AWS, or where the environment says that there is
// one: elsewhere nobody answers at its address, and the call would hang.
func usualPlaces(c Config) *wallet {
	w := &wallet{anonymous: c.Anonymous, client: &http.Client{Timeout: fetchPatience}}
	profile := os.Getenv("AWS_PROFILE")
	if profile == "" {
		profile = "default"
	}
	w.sources = []source{
		{"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", &credentials.EnvAWS{}},
		{fmt.Sprintf("profile %q in ~/.aws/credentials and ~/.aws/config", profile), &profileFiles{name: profile}},
	}
	token := os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != ""
	container := os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "" || os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != ""
	switch {
	case token:
		w.sources = append(w.sources, source{"the role of AWS_WEB_IDENTITY_TOKEN_FILE", &credentials.IAM{Client: w.client}})
	case container:
		w.sources = append(w.sources, source{"the role of this container", &credentials.IAM{Client: w.client}})
	case c.Endpoint == "" && !strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true"):
		short := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: time.Second}).DialContext}}
		w.sources = append(w.sources, source{"the role of this machine", &credentials.IAM{Client: short}})
	}
	return w
}

// noCredentials says where was looked, and what was found there. It is artifacts.ErrRefused: without them the server would be asked in vain.
type noCredentials struct{ looked []string }

func (e *noCredentials) Error() string {
	return "no credentials for the shared cache were found; looked at " + strings.Join(e.looked, "; ")
}

func (e *noCredentials) Is(target error) bool { return target == artifacts.ErrRefused }

// RetrieveWithCredContext asks the sources in their order.
func (w *wallet) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	ctx := context.Background()
	if cc != nil && cc.Context != nil {
		ctx = cc.Context
	}
	ctx, end := context.WithTimeoutCause(ctx, fetchPatience, errHung)
	defer end()
	missing := &noCredentials{}
	for _, s := range w.sources {
		v, err := s.provider.RetrieveWithCredContext(&credentials.CredContext{Client: w.client, Context: ctx})
		if err == nil && v.AccessKeyID != "" && v.SecretAccessKey != "" {
			w.keep(v, nil)
			return v, nil
		}
		missing.looked = append(missing.looked, s.name+" ("+reason(v, err)+")")
	}
	if w.anonymous && ctx.Err() == nil {
		unsigned := credentials.Value{SignerType: credentials.SignatureAnonymous}
		w.keep(unsigned, missing)
		return unsigned, nil
	}
	return credentials.Value{}, missing
}

// Retrieve is the old form of the interface.
func (w *wallet) Retrieve() (credentials.Value, error) { return w.RetrieveWithCredContext(nil) }

func (w *wallet) keep(v credentials.Value, missing *noCredentials) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.missing = missing
	w.value, w.renewAt = v, time.Time{}
	if !v.Expiration.IsZero() {
		w.renewAt = v.Expiration.Add(-min(earlyRenewal, time.Until(v.Expiration)/5))
	}
	w.generation++
}

// IsExpired tells that the value must be asked for anew. The providers' own answer is not asked: minio-go's takes keys without an
// end for expired, and would run a credential_process for each request.
func (w *wallet) IsExpired() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.generation == 0 || !w.renewAt.IsZero() && !time.Now().Before(w.renewAt)
}

func (w *wallet) current() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.generation
}

// unsigned says why requests bear no signature; "" where they do.
func (w *wallet) unsigned() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.missing == nil {
		return ""
	}
	return w.missing.Error()
}

// scrub takes credentials out of a text: servers repeat what they were sent.
func (w *wallet) scrub(text string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, secret := range []string{w.value.SessionToken, w.value.SecretAccessKey, w.value.AccessKeyID} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return text
}

// reason words why a source has no credentials, by a list of what is known to be harmless: what a parser says of a file of secrets
// quotes its lines.
func reason(v credentials.Value, err error) string {
	var process *processError
	var file *fs.PathError
	var network net.Error
	switch {
	case err == nil && v.AccessKeyID == "" && v.SecretAccessKey == "":
		return "not set"
	case err == nil:
		return "only one of the two is set"
	case errors.As(err, &process):
		return process.Error()
	case errors.Is(err, fs.ErrNotExist):
		return "not there"
	case errors.As(err, &file):
		return "cannot be read: " + file.Err.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network):
		return "no answer"
	}
	for _, harmless := range []string{"SSO", "sso_", "partial static credentials", "does not exist"} {
		if strings.Contains(err.Error(), harmless) {
			return err.Error()
		}
	}
	return "cannot be read"
}
