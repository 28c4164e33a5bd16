package names

import (
	"context"
	"errors"

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
