package validate

import (
	"context"
	"errors"

	"noggin/batch/copies"
	"noggin/batch/validate"
	"noggin/storage"
)

// copy tries the target of copies with a small object.
func (v *validation) copy(ctx context.Context) (*validate.Area, error) {
	a := validate.NewArea(areaCopy)
	cfg := v.session.Config
	if cfg.Batch.Copy.To == "" {
		a.Fact("[copy] to is not set: nothing is copied to a second place")
		a.Checked = true
		return a, nil
	}
	keys, err := cfg.S3Keys(v.session.Secrets)
	if err != nil {
		a.Error("credentials", err.Error(), "correct [copy] in the configuration")
		return a, nil
	}
	copier := &copies.Copier{DB: v.session.DB, Config: cfg.Batch.Copy, Keys: keys, Paths: cfg.Batch.Paths, Log: v.session.Log}
	faults, warnings, err := copier.Probe(ctx)
	for _, w := range warnings {
		a.Warn(w.Check, w.Message, w.Remedy)
	}
	for _, f := range faults {
		a.Error(f.Check, f.Message, f.Remedy)
	}
	switch {
	case err == nil:
		a.Checked = true
		if len(faults) == 0 {
			a.Fact(copier.Target() + " takes an object, refuses a second one, and gives it back")
		}
		registered, err := v.session.DB.HasCopyTarget(ctx, cfg.Batch.Copy.Place())
		if err != nil {
			return a, a.Done(ctx, err)
		}
		if !registered {
			a.Warn("copies_never", "nothing was copied there yet", "`noggin copy run`; noggin-copy.timer runs it every hour: `sudo systemctl enable --now noggin-copy.timer`")
		}
	case ctx.Err() != nil, errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrSchema):
		return a, a.Done(ctx, err)
	default:
		a.Error("target", err.Error(), copies.ProbeRemedy(err))
	}
	return a, nil
}
