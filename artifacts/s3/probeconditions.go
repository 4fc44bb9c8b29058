package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/minio/minio-go/v7"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// noConditions is how servers answer that have heard of conditions and do not do them.
func noConditions(err error) bool {
	var r *refusal
	return errors.As(err, &r) && (r.status == http.StatusNotImplemented || r.status == http.StatusBadRequest)
}

// race lets all write at once, each its own bytes, and is an error unless exactly one was told that it has won, the others that they have
// not, and its bytes are there. What the server cannot do is a lacking.
func (p *probe) race(ctx context.Context, name string, write func(ctx context.Context, b []byte) error) error {
	start := make(chan struct{})
	errs := make([]error, racers)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			<-start
			errs[i] = write(ctx, p.racer(i))
		})
	}
	close(start)
	all.Wait()
	winner, winners := -1, 0
	for i, err := range errs {
		switch {
		case err == nil:
			winner = i
			winners++
		case noConditions(err):
			return lacking("the server does not do writes on a condition: " + err.Error())
		case !errors.Is(err, artifacts.ErrConflict):
			return err
		}
	}
	if winners != 1 {
		return lacking(fmt.Sprintf("%d of %d that wrote the same name at once were told that they have won", winners, racers))
	}
	if _, err := p.holds(ctx, name, p.racer(winner)); err != nil {
		return lacking("another write than the winner's is there: " + err.Error())
	}
	return nil
}

func (p *probe) racer(i int) []byte { return fmt.Appendf(nil, "racer %d of %d", i, racers) }

// lost is an error unless a write on a condition that cannot hold was refused and has left the bytes alone.
func (p *probe) lost(ctx context.Context, what, name string, there []byte, err error) error {
	switch {
	case err == nil:
		return lacking("the server accepts " + what)
	case noConditions(err):
		return lacking("the server does not do writes on a condition: " + err.Error())
	case !errors.Is(err, artifacts.ErrConflict):
		return err
	case there == nil:
		return nil
	}
	if _, err := p.holds(ctx, name, there); err != nil {
		return lacking("the server refuses " + what + ", but has changed the bytes: " + err.Error())
	}
	return nil
}

func (p *probe) create(ctx context.Context) (string, error) {
	absent := artifacts.Absent
	for round := range rounds {
		name := fmt.Sprintf("create/%d", round)
		err := p.race(ctx, name, func(ctx context.Context, b []byte) error {
			_, err := p.Write(ctx, name, artifacts.Text(b), &absent)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	if _, err := p.Write(ctx, "plain", artifacts.Text(p.body), nil); err != nil {
		return "", err
	}
	_, err := p.Write(ctx, "plain", artifacts.Text([]byte("too late")), &absent)
	if err := p.lost(ctx, "to create a name that is there", "plain", p.body, err); err != nil {
		return "", err
	}
	p.finding.Create = true
	return fmt.Sprintf("%d rounds of %d at once, one winner each", rounds, racers), nil
}

func (p *probe) replace(ctx context.Context) (string, error) {
	for round := range rounds {
		name := fmt.Sprintf("replace/%d", round)
		first, err := p.Write(ctx, name, artifacts.Text(p.body), nil)
		if err != nil {
			return "", err
		}
		err = p.race(ctx, name, func(ctx context.Context, b []byte) error {
			_, err := p.Write(ctx, name, artifacts.Text(b), &first.Version)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	stale, err := p.Write(ctx, "stale", artifacts.Text(p.body), nil)
	if err != nil {
		return "", err
	}
	newer := []byte("newer")
	if _, err := p.Write(ctx, "stale", artifacts.Text(newer), nil); err != nil {
		return "", err
	}
	_, err = p.Write(ctx, "stale", artifacts.Text([]byte("too late")), &stale.Version)
	if err := p.lost(ctx, "to replace a version that is gone", "stale", newer, err); err != nil {
		return "", err
	}
	_, err = p.Write(ctx, "absent", artifacts.Text(newer), &stale.Version)
	if err := p.lost(ctx, "to replace a name that is not there", "absent", nil, err); err != nil {
		return "", err
	}
	p.finding.Replace = true
	return fmt.Sprintf("%d rounds of %d at once, one winner each", rounds, racers), nil
}

// multipart is for people who wonder: nothing of tinfra depends on it.
func (p *probe) multipart(ctx context.Context) (string, error) {
	err := p.race(ctx, "parts", func(ctx context.Context, b []byte) error { return p.inParts(ctx, "parts", b) })
	if err == nil {
		_, err = p.Write(ctx, "plain", artifacts.Text(p.body), nil)
	}
	if err == nil {
		err = p.lost(ctx, "to create in parts a name that is there", "plain", p.body, p.inParts(ctx, "plain", []byte("too late")))
	}
	var soft lacking
	switch {
	case ctx.Err() != nil:
		return "", err
	case err != nil && !errors.As(err, &soft): // a store without uploads in parts is as good
		return "", lacking(err.Error())
	case err != nil:
		return "", err
	}
	p.finding.Multipart = true
	return fmt.Sprintf("%d at once, one winner", racers), nil
}

// inParts creates a name by an upload of one part, the condition at its end.
func (p *probe) inParts(ctx context.Context, name string, b []byte) error {
	k := p.call("writing in parts", name, mayWrite)
	k.conditional = true
	id, tag := "", ""
	step := func(try func(*attempt) error) error {
		a, err := k.repeat(ctx, try)
		if err == nil {
			a.end()
		}
		return err
	}
	err := step(func(a *attempt) (err error) {
		id, err = p.core.NewMultipartUpload(a.ctx, p.bucket, k.name, minio.PutObjectOptions{})
		return err
	})
	if err != nil {
		return err
	}
	err = step(func(a *attempt) error {
		part, err := p.core.PutObjectPart(a.ctx, p.bucket, k.name, id, 1, bytes.NewReader(b), int64(len(b)),
			minio.PutObjectPartOptions{Sha256Hex: artifacts.Sum(b).Hex(), DisableContentSha256: true})
		tag = part.ETag
		return err
	})
	if err == nil {
		opts := minio.PutObjectOptions{}
		opts.SetMatchETagExcept("*")
		err = step(func(a *attempt) error {
			_, err := p.core.CompleteMultipartUpload(a.ctx, p.bucket, k.name, id, []minio.CompletePart{{PartNumber: 1, ETag: tag}}, opts)
			return err
		})
	}
	if err != nil { // an upload that did not end would lie there for ever
		clean, end := context.WithTimeout(context.WithoutCancel(ctx), cleaningUp)
		defer end()
		_ = p.core.AbortMultipartUpload(clean, p.bucket, k.name, id) // there is none where the server has ended it itself
	}
	return err
}
