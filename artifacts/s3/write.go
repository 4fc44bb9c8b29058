package s3

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/minio/minio-go/v7"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

const (
	mayRead   = "s3:GetObject"
	mayWrite  = "s3:PutObject"
	mayList   = "s3:ListBucket"
	mayRemove = "s3:DeleteObject"

	// writeMark is the metadata by which a write is known again: each write on a condition has one of its own, and keeps it when repeated.
	writeMark       = "tinfra-write"
	writeMarkHeader = "X-Amz-Meta-Tinfra-Write"
)

// Write sends b in one PUT, never in parts: so it can be on a condition, and no parts are left by a client that dies. The digest is signed, so
// the server refuses other bytes. See artifacts.Objects; Modified of the answer is the server's time of answering. A condition that is not met is
// artifacts.ErrConflict; what the server does not let us do is artifacts.ErrRefused; artifacts.ErrUnreachable when patience has run out, and
// then the write may have taken effect.
func (c *Client) Write(ctx context.Context, name string, b artifacts.Body, old *artifacts.Version) (artifacts.Object, error) {
	k := c.call("writing", name, mayWrite)
	opts := minio.PutObjectOptions{DisableContentSha256: true} // or minio-go would sign chunk by chunk over plain http, and leave our digest out
	mark := ""
	if old != nil {
		k.conditional = true
		mark = newMark()
		opts.UserMetadata = map[string]string{writeMark: mark}
		if *old == artifacts.Absent {
			opts.SetMatchETagExcept("*")
		} else {
			opts.SetMatchETag(string(*old))
		}
	}
	furthest := int64(0)
	a, err := k.repeat(ctx, func(a *attempt) error {
		up := &upload{from: b.Bytes, left: b.Size, dog: a.dog, moved: func(at int64) {
			if at >= furthest+trickle || at > furthest && at == b.Size {
				furthest = at
				k.moved()
			}
		}}
		if k.unsure && old != nil && b.Size >= worthAsking {
			if err := c.unchanged(ctx, name, *old); err != nil {
				return ownError{err}
			}
		}
		if _, err := b.Bytes.Seek(0, io.SeekStart); err != nil {
			return ownError{err}
		}
		_, err := c.core.PutObject(a.ctx, c.bucket, k.name, up, b.Size, "", b.Digest.Hex(), opts)
		if own := up.detach(); err != nil && own != nil {
			return ownError{own}
		}
		return err
	})
	if errors.Is(err, artifacts.ErrConflict) && k.unsure {
		return c.ours(ctx, name, mark, err)
	}
	if err != nil {
		return artifacts.Object{}, err
	}
	defer a.end()
	o := object(name, b.Size, a.header)
	o.Modified = o.Now
	return o, nil
}

// worthAsking is how many bytes are not sent once more before it is known that their condition may still hold. A server that answers 412 before
// it has read them all, as versitygw does, and closes, is heard to reset the connection and nothing else, each time.
const worthAsking = 256 << 10

// unchanged is ErrConflict where a name has another version by now: perhaps the one that a lost try has given it.
func (c *Client) unchanged(ctx context.Context, name string, old artifacts.Version) error {
	there, _, err := c.stat(ctx, name)
	switch {
	case errors.Is(err, artifacts.ErrMissing):
		there.Version = artifacts.Absent
	case err != nil:
		return err
	}
	if there.Version != old {
		return fmt.Errorf("%w: it was written meanwhile", artifacts.ErrConflict)
	}
	return nil
}

// ours decides a conflict that came after a try whose answer was lost: if the mark there is ours, the lost try has won.
func (c *Client) ours(ctx context.Context, name, mark string, conflict error) (artifacts.Object, error) {
	there, header, err := c.stat(ctx, name)
	switch {
	case errors.Is(err, artifacts.ErrMissing):
		return artifacts.Object{}, conflict
	case err != nil:
		return artifacts.Object{}, err
	case header.Get(writeMarkHeader) != mark:
		return artifacts.Object{}, conflict
	}
	return there, nil
}

func newMark() string {
	var b [16]byte
	rand.Read(b[:]) // it never fails: where it could, it ends the program
	return hex.EncodeToString(b[:])
}

// upload is the body of one try. The network may still read it when the try is over and the next one begins from the same source, so it is
// taken off: a read under way is waited for, later ones fail. It has no Seek, or minio-go would repeat by itself.
type upload struct {
	mu    sync.Mutex
	from  io.Reader
	at    int64
	left  int64
	dog   *watchdog
	moved func(at int64)
	err   error
}

var errOver = errors.New("this try is over")

func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.from == nil {
		return 0, errOver
	}
	if u.left == 0 {
		return 0, io.EOF
	}
	n, err := u.from.Read(p[:min(int64(len(p)), u.left)])
	u.at += int64(n)
	u.left -= int64(n)
	if u.left == 0 {
		u.dog.fed(trickle) // the answer has the whole time
	} else {
		u.dog.fed(n)
	}
	u.moved(u.at)
	switch {
	case errors.Is(err, io.EOF) && u.left > 0:
		err = fmt.Errorf("%d bytes are missing at the end: %w", u.left, io.ErrUnexpectedEOF)
		u.err = err
	case errors.Is(err, io.EOF):
		err = nil
	case err != nil:
		u.err = err
	}
	return n, err
}

// detach returns what reading the source has failed with.
func (u *upload) detach() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.from = nil
	return u.err
}

// Remove deletes a name. See artifacts.Objects.
func (c *Client) Remove(ctx context.Context, name string) error {
	k := c.call("removing", name, mayRemove)
	a, err := k.repeat(ctx, func(a *attempt) error {
		err := c.core.RemoveObject(a.ctx, c.bucket, k.name, minio.RemoveObjectOptions{})
		if a.err == nil && a.status/100 == 2 { // some answer 200 and not 204, which minio-go takes for an error
			return nil
		}
		return err
	})
	if errors.Is(err, artifacts.ErrMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	a.end()
	return nil
}
