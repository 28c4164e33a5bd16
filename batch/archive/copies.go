package archive

import (
	"context"
	"errors"

	"noggin/batch/health"
	"noggin/storage"
)

// ErrNoTarget says that [archive] require_copy is set and no file has a copy, as the second
// place is not registered.
var ErrNoTarget = errors.New("[archive] require_copy: nothing was copied to the second place yet, so no file has a verified copy: set [copy] to and run `noggin copy run`, then `noggin copy verify`")

// checkTarget returns [ErrNoTarget] where the run could remove nothing.
func (c *creation) checkTarget(ctx context.Context) error {
	if !c.Config.RequireCopy || c.opts.Keep {
		return nil
	}
	registered, err := c.DB.HasCopyTarget(ctx, c.Second)
	if err == nil && !registered {
		err = ErrNoTarget
	}
	return err
}

// uncopiedOf returns those of the records of which a file on disk has no verified copy. It
// is empty unless [archive] require_copy is set.
func (c *creation) uncopiedOf(ctx context.Context, records map[string]storage.FiledRecord) (map[string]bool, error) {
	uncopied := map[string]bool{}
	if !c.Config.RequireCopy {
		return uncopied, nil
	}
	var expected []storage.File
	for _, r := range records {
		expected = append(expected, onDisk(r)...)
	}
	tips, err := c.DB.UncopiedRecords(ctx, expected, c.Second, health.VerifiedPatience)
	for _, tip := range tips {
		uncopied[tip] = true
	}
	return uncopied, err
}

// copied is filed without the records that the run would archive and not remove, as a copy
// is missing.
func (c *creation) copied(ctx context.Context, tips []string) (map[string]storage.FiledRecord, error) {
	records, err := c.filed(ctx, tips)
	if err != nil || c.opts.Keep {
		return records, err
	}
	uncopied, err := c.uncopiedOf(ctx, records)
	for tip := range uncopied {
		delete(records, tip)
	}
	c.summary.Uncopied += len(uncopied)
	return records, err
}
