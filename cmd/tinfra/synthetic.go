package main

import (
	"context"
	"errors"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// syntheticMark stands beside whatever was made of a model of made-up numbers, wherever it is listed.
const syntheticMark = "(synthetic)"

// synthetic says why what a record has made is not to be trusted; ok is false for what descends from no made-up model. Of what is not
// here nothing is known.
func (h *house) synthetic(ctx context.Context, record artifacts.Digest) (why string, ok bool, err error) {
	if record.IsZero() {
		return "", false, nil
	}
	rec, err := h.cache.Record(ctx, record)
	if err != nil {
		return "", false, unlessMissing(err)
	}
	for _, port := range sortedKeys(rec.Outputs) {
		m, err := h.cache.Manifest(ctx, rec.Outputs[port])
		if err != nil {
			if err = unlessMissing(err); err != nil {
				return "", false, err
			}
			continue
		}
		if why, ok = m.Labels[run.LabelSynthetic]; ok {
			return why, true, nil
		}
	}
	return "", false, nil
}

func unlessMissing(err error) error {
	if errors.Is(err, artifacts.ErrMissing) || errors.Is(err, artifacts.ErrDamaged) {
		return nil
	}
	return err
}
