package seal

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"noggin/batch/files"
	"noggin/storage"
)

// fileReaders is the number of files that are read at the same time.
const fileReaders = 4

// look is a file that leaves name, as they say it is.
type look struct {
	path   string
	size   int64
	sha256 string
}

// readFiles reads the files on disk that leaves name, each once, and returns what is wrong
// with them.
func (c *evidence) readFiles(ctx context.Context, leaves []leafAt, records map[string]*record) (map[look]error, error) {
	looks := map[look]error{}
	if c.output == nil {
		return looks, nil
	}
	for _, l := range leaves {
		for _, a := range l.Attachments {
			for _, f := range records[l.Tip].filesOf(a) {
				if f.ArchiveID == nil {
					looks[look{f.Path, a.Size, a.SHA256}] = nil
				}
			}
		}
	}
	var mu sync.Mutex
	readers, reading := errgroup.WithContext(ctx)
	readers.SetLimit(fileReaders)
	for _, l := range slices.Collect(maps.Keys(looks)) {
		readers.Go(func() error {
			if reading.Err() != nil {
				return context.Cause(reading)
			}
			err := c.output.Verify(l.path, l.size, l.sha256)
			mu.Lock()
			defer mu.Unlock()
			if looks[l] = err; err == nil {
				c.files, c.bytes = c.files+1, c.bytes+l.size
			}
			if errors.Is(err, files.ErrNotMounted) {
				return err
			}
			return nil
		})
	}
	return looks, readers.Wait()
}

// compareFiles compares a leaf with its files on disk: all that have its bytes, as bytes that
// were replaced may come again. Files in archives are compared with their archives, which
// does not find those of records that no archive has anything of.
func (c *evidence) compareFiles(l leaf, r *record, looks map[look]error) (found []flaw) {
	if c.output == nil {
		return nil
	}
	for i, a := range l.Attachments {
		if i > 0 && a.Tip == l.Attachments[i-1].Tip && a.SHA256 == l.Attachments[i-1].SHA256 {
			continue
		}
		same := r.filesOf(a)
		for _, f := range same {
			err := looks[look{f.Path, a.Size, a.SHA256}]
			switch {
			case f.ArchiveID != nil && f.Lost != "":
				if !slices.ContainsFunc(same, func(f *storage.SealFile) bool { return f.Lost == "" }) {
					found = append(found, flaw{"lost", f.Path + " was lost with " + f.Lost})
				}
			case f.ArchiveID != nil && !f.Held:
				found = append(found, flaw{"file", f.Path + " is said to be in an archive, which has nothing of the record"})
			case f.ArchiveID != nil, err == nil:
			case errors.Is(err, files.ErrMissing), errors.Is(err, os.ErrNotExist):
				found = append(found, flaw{"file", f.Path + " is missing"})
			default:
				found = append(found, flaw{"file", strings.TrimPrefix(err.Error(), "verify ")})
			}
		}
	}
	return found
}
