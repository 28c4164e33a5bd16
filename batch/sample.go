package batch

import (
	"context"
	"time"

	"noggin/storage"
)

// sampleEvery is how often a long run tries for a sample; storage sees to it that
// they are not too many.
const sampleEvery = 5 * time.Minute

// Sample keeps the state of the mirror for the reports that need its history, where
// that was not done within the last minutes. Commands call it when they finish.
func Sample(ctx context.Context, db *storage.DB, output string) error {
	disk, err := ReadDisk(output)
	if err != nil {
		disk = nil // the rest is worth keeping; `report` and `validate` tell of the disk
	}
	_, err = db.Sample(ctx, disk)
	return err
}

// ReadDisk looks at the volume of the output folder. Without its marker the error
// is ErrNotMounted.
func ReadDisk(output string) (*storage.Disk, error) {
	o, err := OpenOutput(output)
	if err != nil {
		return nil, err
	}
	defer release(o)
	free, total, err := o.Free()
	if err != nil {
		return nil, err
	}
	return &storage.Disk{Path: o.Name(), FreeBytes: int64(free), TotalBytes: int64(total)}, nil
}

// sampleLoop takes samples while a long run lasts.
func (r *run) sampleLoop(ctx context.Context) {
	every(ctx, sampleEvery, func() {
		if err := Sample(ctx, r.DB, r.output.Name()); err != nil && ctx.Err() == nil {
			r.Log.Warn("no sample could be taken", "run_id", r.id, "error", err)
		}
	})
}
