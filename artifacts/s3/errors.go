package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// ownError is one that the server has no part in: the body of a write that cannot be read.
type ownError struct{ error }

func (e ownError) Unwrap() error { return e.error }

// refusal is an answer that would be the same again. It is artifacts.ErrRefused.
type refusal struct {
	status int
	code   string
	text   string
}

func (r *refusal) Error() string        { return artifacts.ErrRefused.Error() + ": " + r.text }
func (r *refusal) Is(target error) bool { return target == artifacts.ErrRefused }

// fate is what follows from the failure of a try.
type fate struct {
	again  bool
	after  time.Duration // at least, by the server's word
	rotten bool          // the object may have rotted: others may be well
	unsure bool          // the try may have taken effect
	renew  bool          // with new credentials once more
}

// judge decides it by what the network and the server said.
func (k *call) judge(a *attempt, err error) fate {
	var own ownError
	switch {
	case errors.As(err, &own):
		return fate{}
	case a.stalled():
		return fate{again: true, unsure: true}
	case a.err != nil:
		return fate{again: passing(a.err), unsure: !dialling(a.err)}
	case a.status == 0: // nothing was sent: no credentials, or a name that cannot be
		return fate{}
	case a.status < 300: // the answer broke off, or is none: MinIO also does so where bits have flipped on its disk
		return fate{again: true, unsure: true, rotten: k.right == mayRead}
	}
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) { // the answer is an error, and broke off: mostly the network's fault, but servers that are spoken to in the wrong protocol do so
		k.broken++
		return fate{again: a.status >= 500 || k.broken < brokenAnswers, unsure: true}
	}
	switch answer.Code {
	case "SlowDownRead": // what MinIO says of bits that have flipped on its disk, and of disks that it has lost
		return fate{again: true, after: asked(a.header), rotten: true}
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		return fate{renew: true}
	case bareBadRequest:
		return fate{renew: k.doing == asking}
	case "ConditionalRequestConflict", "OperationAborted":
		return fate{again: true} // another write of the name is under way: neither of the two has lost yet
	case "SlowDown", "SlowDownWrite", "RequestTimeout", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestThrottled":
		return fate{again: true, after: asked(a.header), unsure: true}
	}
	switch a.status {
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusInsufficientStorage:
		return fate{}
	case http.StatusRequestTimeout, http.StatusTooManyRequests, 499: // 499: a proxy that thought we had left
		return fate{again: true, after: asked(a.header), unsure: true}
	}
	// 500 is what MinIO says of an object whose description has rotted.
	rotten := a.status == http.StatusInternalServerError && k.right == mayRead
	return fate{again: a.status >= 500, after: asked(a.header), unsure: true, rotten: rotten}
}

const brokenAnswers = 3 // so many 4xx without the words that belong to them are believed

// passing tells errors of the network that may be gone with the next try from those of a wrong address or certificate.
func passing(err error) bool {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	switch {
	case errors.As(err, &certificate), errors.As(err, &unknown), errors.As(err, &invalid), errors.As(err, &host), errors.As(err, &record):
		return false
	case errors.As(err, &dns):
		return !dns.IsNotFound
	}
	return !strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// dialling tells errors before the request was sent.
func dialling(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// asked is the Retry-After in seconds; as a date it is not used by any store.
func asked(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(min(n, 3600)) * time.Second
}

// bareBadRequest is minio-go's code for a 400 without a body, which is all that HEAD is told when a token has expired.
const bareBadRequest = "400 Bad Request"

// answerOf is the error that the server has told.
func answerOf(a *attempt, err error) minio.ErrorResponse {
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) {
		answer.Message = err.Error()
	}
	answer.StatusCode = a.status
	return answer
}

// interrupted is the error of a call whose caller has gone.
func (k *call) interrupted(ctx context.Context) error {
	return fmt.Errorf("%s: %w", k, context.Cause(ctx))
}

// gaveUp is that of one whose patience has run out.
func (k *call) gaveUp(a *attempt, err error, f fate) error {
	kind := artifacts.ErrUnreachable
	if f.rotten && !a.stalled() {
		kind = artifacts.ErrWithheld
	}
	return fmt.Errorf("%s: %w: no success for %v, at last: %s", k, kind, k.idle(), k.c.words(a, err))
}

// told is the error of a failure that would come again.
func (k *call) told(a *attempt, err error) error {
	var own ownError
	var missing *noCredentials
	switch {
	case errors.As(err, &own):
		return fmt.Errorf("%s: %w", k, own.error)
	case errors.As(err, &missing):
		return fmt.Errorf("%s: %w", k, missing)
	case a.err != nil:
		return fmt.Errorf("%s: %w: %s", k, artifacts.ErrUnreachable, k.c.words(a, err))
	case a.status == 0:
		return fmt.Errorf("%s: %s", k, k.c.words(a, err))
	}
	answer := answerOf(a, err)
	switch {
	case k.conditional && (a.status == http.StatusPreconditionFailed || a.status == http.StatusNotFound && nothingThere(answer.Code)):
		return fmt.Errorf("%s: %w", k, artifacts.ErrConflict) // 404 is how Amazon answers to If-Match on what is not there
	case a.status == http.StatusNotFound && nothingThere(answer.Code):
		return fmt.Errorf("%s: %w", k, artifacts.ErrMissing)
	}
	return fmt.Errorf("%s: %w", k, &refusal{a.status, answer.Code, k.c.words(a, err) + k.hint(a, answer.Code)})
}

// nothingThere tells a name that does not exist from a bucket that does not, or keys that the server does not know.
func nothingThere(code string) bool {
	return code == "NoSuchKey" || code == "NotFound"
}

// hint is what can be done about a refusal.
func (k *call) hint(a *attempt, code string) string {
	switch {
	case code == "RequestTimeTooSkewed":
		return "; " + clock(time.Until(now(a.header)))
	case code == "NoSuchBucket":
		return fmt.Sprintf("; there must be a bucket %q, it is not created", k.c.bucket)
	case code == "SignatureDoesNotMatch", code == "InvalidAccessKeyId", code == "ExpiredToken", code == "InvalidToken":
		return "; the credentials are wrong or have ended"
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
		if unsigned := k.c.wallet.unsigned(); unsigned != "" {
			return "; it was asked without credentials: " + unsigned
		}
		hint := "; it takes the permission " + k.right
		if k.right == mayWrite || k.right == mayRemove {
			return hint + "; a machine that may only read says so by read_only = true in tinfra.hcl, or &read_only=true in the bucket's address"
		}
		if k.right == mayRead {
			hint += ", and " + mayList + ", without which what is missing looks forbidden"
		}
		return hint
	case a.header.Get("X-Amz-Bucket-Region") != "":
		return "; the bucket is in region " + a.header.Get("X-Amz-Bucket-Region")
	}
	return ""
}

// clock says how far ahead of ours the server's clock is.
func clock(ahead time.Duration) string {
	ahead = ahead.Round(time.Second)
	switch {
	case ahead > 0:
		return fmt.Sprintf("this machine's clock is %v behind the server's", ahead)
	case ahead < 0:
		return fmt.Sprintf("this machine's clock is %v ahead of the server's", -ahead)
	}
	return "this machine's clock agrees with the server's"
}

// words are what the network or the server said, on one line, not too long, without credentials.
func (s *server) words(a *attempt, err error) string {
	text := ""
	switch {
	case a.stalled():
		return fmt.Sprintf("nothing moved for %v", s.stall)
	case a.err != nil:
		text = a.err.Error()
	case a.status >= 300:
		answer := answerOf(a, err)
		text = strings.TrimSpace(fmt.Sprintf("%d %s: %s", a.status, answer.Code, answer.Error()))
	default:
		text = err.Error()
	}
	text = strings.Join(strings.Fields(s.wallet.scrub(text)), " ")
	if r := []rune(text); len(r) > maxTextLength {
		text = string(r[:maxTextLength]) + "…"
	}
	return text
}

func (k *call) String() string { return k.doing + " s3://" + k.c.bucket + "/" + k.name }
