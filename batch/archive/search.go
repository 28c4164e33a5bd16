package archive

import (
	"context"
	"io/fs"

	"noggin/batch/archive/format"
	"noggin/storage"
)

// Search returns those of the missing files, which are given by the tip of their record,
// that the archive at a path lists with their hash. It reads only the manifest.
func Search(ctx context.Context, at string, missing map[string][]storage.File) (found []storage.File, err error) {
	left := 0
	for _, wanted := range missing {
		left += len(wanted)
	}
	err = format.EachGroup(ctx, at, func(_ *format.Reader, records [][]format.File) error {
		for _, listed := range records {
			for _, f := range missing[listed[0].Tip] {
				if has(listed, f) {
					found = append(found, f)
				}
			}
		}
		if len(found) >= left {
			return fs.SkipAll
		}
		return nil
	})
	return found, err
}
