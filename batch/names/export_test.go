package names

import (
	"context"
	"errors"
	"time"

	"noggin/batch/files"
	"noggin/storage"
)

// Renew renews the records of a batch and leaves them claimed, as a healer that dies
// does. External tests use it.
func (h *Healer) Renew(ctx context.Context, batch storage.StaleBatch) error {
	output, err := files.OpenOutput(h.Output)
	if err != nil {
		return err
	}
	_, err = (&healing{Healer: h, output: output}).renew(ctx, batch)
	return errors.Join(err, output.Close())
}

// HealBatch heals a batch whose claims end after left, and frees them. It returns how many
// records it healed.
func (h *Healer) HealBatch(ctx context.Context, left time.Duration, batch storage.StaleBatch) (healed int, err error) {
	output, err := files.OpenOutput(h.Output)
	if err != nil {
		return 0, err
	}
	p, err := (&healing{Healer: h, output: output}).batch(ctx, time.Now().Add(left-healLease), batch)
	return p.healed, errors.Join(err, output.Close())
}
