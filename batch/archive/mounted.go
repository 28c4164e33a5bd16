package archive

import (
	"context"
	"fmt"
	"time"

	"noggin/batch/archive/watch"
	"noggin/batch/health"
)

// checkMounted refuses a folder that is missing or empty although archives lie in it: a new
// archive there would go to the volume below, and hide that this one is not mounted.
func (c *creation) checkMounted(ctx context.Context) error {
	archives, err := health.ReadArchives(ctx, c.DB, c.Paths.Archive, time.Now())
	if err != nil {
		return err
	}
	for _, a := range archives {
		if a.Folder() == c.dir && a.Sight == watch.Unmounted && !a.Spare {
			return fmt.Errorf("the archive folder %s, in which %s lies, %s: mount its volume, or give another folder with --to; `noggin archive list` shows all archives", c.dir, a.Name, a.Why)
		}
	}
	return nil
}
