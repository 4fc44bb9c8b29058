package shared

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
)

// witnessTime bounds how long the server is asked for another object: one that is well gives it at once.
const witnessTime = 10 * time.Second

// unreadable makes damage of an error of reading an object that the server does not give while it gives others: MinIO answers 503 for ever, or
// breaks off, where bits have flipped on its disk. Other errors are what they are.
func unreadable(ctx context.Context, p *bucket.Place, err error) error {
	if !errors.Is(err, artifacts.ErrWithheld) || ctx.Err() != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, witnessTime)
	defer cancel()
	body, _, other := p.Objects().Read(bounded, bucket.FormatName, 0, -1)
	if other != nil {
		return err
	}
	defer body.Close()
	if _, other = io.Copy(io.Discard, body); other != nil {
		return err
	}
	return fmt.Errorf("%w: the server gives others, and not this: %s", artifacts.ErrDamaged, err.Error())
}
