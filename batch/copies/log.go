package copies

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"noggin/batch/copies/place"
	"noggin/batch/files"
)

// The leaves and checkpoints of `noggin seal` are copied too, and the time stamps that
// [seal] publish writes beside checkpoints. They never change and have unique names, so the
// database has no row of them: what the target lacks is put there.

// logFile matches their paths in the folder of checkpoints.
var logFile = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/(?:checkpoint-([0-9]+)|checkpoint-[0-9]+\.tsr|leaves-[0-9]+-([0-9]+)\.jsonl)$`)

// logCopy is a copy of a file of a log.
type logCopy struct {
	place.Object
	path     string // in the folder of checkpoints
	modified time.Time
}

// logCopies lists the copies of the files of all logs, the oldest first.
func logCopies(ctx context.Context, to target) (found []logCopy, err error) {
	err = to.List(ctx, logFolder, func(f place.Found) error {
		key := strings.TrimPrefix(f.Key, logFolder+"/")
		dot := max(0, strings.LastIndexByte(key, '.'))
		if sum := strings.TrimPrefix(key[dot:], "."); logFile.MatchString(key[:dot]) && len(sum) == 64 {
			found = append(found, logCopy{place.Object{Key: f.Key, Size: f.Size, SHA256: sum}, key[:dot], f.Modified})
		}
		return nil
	})
	slices.SortStableFunc(found, func(a, b logCopy) int { return a.modified.Compare(b.modified) })
	return found, err
}

// logFiles lists the files of all logs in the folder of checkpoints. Leaves that no
// checkpoint covers are left out: `noggin seal` may set them aside.
func logFiles(checkpoints string) (found []string, err error) {
	logs, err := os.ReadDir(checkpoints)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, files.WrapDisk("list", checkpoints, err)
	}
	for _, log := range logs {
		if !log.IsDir() {
			continue
		}
		entries, err := os.ReadDir(filepath.Join(checkpoints, log.Name()))
		if err != nil {
			return found, files.WrapDisk("list", filepath.Join(checkpoints, log.Name()), err)
		}
		covered := ""
		for _, entry := range entries { // checkpoints before leaves
			at := log.Name() + "/" + entry.Name()
			if match := logFile.FindStringSubmatch(at); match != nil && match[2] <= max(covered, match[1]) {
				covered = max(covered, match[1])
				found = append(found, at)
			}
		}
	}
	return found, nil
}

// copyLog copies the files of all logs that the target lacks.
func (r *runner) copyLog(ctx context.Context) error {
	all, err := logFiles(r.Paths.Checkpoints)
	if err != nil {
		r.summary.add(r.Log, r.Paths.Checkpoints, err.Error())
	}
	if len(all) == 0 {
		return nil
	}
	copied, err := logCopies(ctx, r.to)
	if err != nil {
		return err
	}
	of := map[string][]logCopy{}
	for _, one := range copied {
		of[one.path] = append(of[one.path], one)
	}
	for _, path := range all {
		at := filepath.Join(r.Paths.Checkpoints, path)
		info, err := os.Lstat(at)
		if err == nil && slices.ContainsFunc(of[path], func(c logCopy) bool {
			return c.Size == info.Size() && !c.modified.Before(info.ModTime().Truncate(time.Second)) // S3 counts seconds
		}) {
			continue
		}
		stored, err := r.putLog(ctx, r.to, path)
		switch {
		case ctx.Err() != nil, isAway(ctx, r.to, err):
			return err
		case err != nil:
			r.summary.add(r.Log, at, err.Error())
		case !stored.Already:
			r.summary.Log++
		}
	}
	return r.to.Flush()
}

// putLog puts a file of a log into the target. What is there already is read back.
func (c *Copier) putLog(ctx context.Context, to target, path string) (stored place.Stored, err error) {
	content, _, err := files.OpenRegular(filepath.Join(c.Paths.Checkpoints, path), unix.O_NOFOLLOW)
	if err != nil {
		return stored, err
	}
	defer files.Release(content)
	size, sum, err := files.HashOpen(ctx, content)
	if err != nil {
		return stored, err
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return stored, files.WrapDisk("read", content.Name(), err)
	}
	o := place.Object{Key: logFolder + "/" + path + "." + sum, Size: size, SHA256: sum}
	return to.Put(ctx, o, place.PutOptions{Retain: c.Config.retainUntil(time.Now()), Doubt: true}, content)
}

// verifyLog reads the copies of the files of all logs. As no row makes a damaged one due,
// it is replaced at once, if its original is there.
func (c *Copier) verifyLog(ctx context.Context, to target, summary *VerifySummary) error {
	copied, err := logCopies(ctx, to)
	if err != nil {
		return err
	}
	for _, one := range copied {
		err := verifyOne(ctx, to, one.Object, true)
		if ctx.Err() != nil || isAway(ctx, to, err) {
			return err
		}
		summary.Checked++
		summary.Bytes += one.Size
		if err == nil {
			continue
		}
		summary.Damaged++
		summary.add(c.Log, one.path, "a copy: "+err.Error())
		if _, err := c.putLog(ctx, to, one.path); err != nil {
			c.Log.Warn("the damaged copy cannot be replaced", "path", one.path, "error", err)
		}
	}
	return to.Flush()
}

// RestoredLog is what came back of the logs.
type RestoredLog struct {
	Target string `json:"target"`
	Folder string `json:"folder"`
	Files  int64  `json:"files"` // that are there now
	Bytes  int64  `json:"bytes"`
	Problems
}

// RestoreLog writes the copies of leaves and checkpoints into a folder. It replaces
// nothing and needs no database.
func (c *Copier) RestoreLog(ctx context.Context, folder string) (RestoredLog, error) {
	summary := RestoredLog{Target: c.Config.url(), Folder: folder, Problems: Problems{First: []Problem{}}}
	to, err := c.openThere(ctx)
	if err != nil {
		return summary, err
	}
	defer files.Release(to)
	copied, err := logCopies(ctx, to)
	if err != nil {
		return summary, err
	}
	for _, one := range copied {
		at := filepath.Join(folder, one.path)
		err := c.fetch(ctx, to, one.Object, at)
		switch {
		case err == nil:
			_ = os.Chtimes(at, one.modified, one.modified) // or the next run hashes it
			summary.Files++
			summary.Bytes += one.Size
		case errors.Is(err, fs.ErrExist):
			summary.add(c.Log, at, "another file is in the way and stays; the target has "+one.Key)
		case errors.Is(err, files.ErrDiffers), errors.Is(err, files.ErrMissing):
			summary.add(c.Log, at, "its copy cannot be used: "+err.Error())
		default:
			return summary, err
		}
	}
	return summary, nil
}
