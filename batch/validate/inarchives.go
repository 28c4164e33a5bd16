package validate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"noggin/batch/archive"
	"noggin/batch/archive/format"
	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/storage"
)

// A file that is not on disk may be in an archive although the database does not have it
// there: the server lost the last commits of an archive run, or was restored from a backup.
// The archives' manifests tell.

// missingFile is a file that is not on disk.
type missingFile struct {
	tip   string
	token int64
	problemFile
}

// searchArchives looks for the missing files in the manifests of all archives, and counts
// each as archived or as missing.
func (c *fileCheck) searchArchives(ctx context.Context) error {
	c.holding = map[string]string{}
	if len(c.missing) > 0 {
		if err := c.search(ctx); err != nil {
			return err
		}
	}
	for _, m := range c.missing {
		if at, ok := c.holding[m.path]; ok {
			c.count(fileArchived, m.path+" (in "+filepath.Base(at)+")")
			continue
		}
		c.count(m.problem, m.path)
		if m.problem <= fileHash {
			c.lose(m.tip, m.token, m.attachmentTip)
		}
	}
	return nil
}

// search fills holding: the path of the archive by that of the file.
func (c *fileCheck) search(ctx context.Context) error {
	archives, err := c.archiveFiles(ctx)
	if err != nil || len(archives) == 0 {
		return err
	}
	paths := map[string]bool{}
	tips := map[string]bool{}
	for _, m := range c.missing {
		paths[m.path], tips[m.tip] = true, true
	}
	wanted := map[string][]storage.File{}
	for page := range slices.Chunk(slices.Sorted(maps.Keys(tips)), filesPage) {
		records, err := c.DB.RecordFiles(ctx, page)
		if err != nil {
			return err
		}
		for _, r := range records {
			for _, f := range r.Files {
				if paths[f.Path] && f.ArchiveID == nil && f.SHA256 != "" {
					wanted[r.Tip] = append(wanted[r.Tip], f)
				}
			}
		}
	}
	for _, at := range archives {
		if len(wanted) == 0 {
			return nil
		}
		found, err := archive.Search(ctx, at, wanted)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			c.Log.Warn("an archive was not searched for missing files", "archive", at, "error", err)
		}
		for _, f := range found {
			c.holding[f.Path] = at
			wanted[f.RecordTip] = slices.DeleteFunc(wanted[f.RecordTip], func(w storage.File) bool { return w.Path == f.Path })
			if len(wanted[f.RecordTip]) == 0 {
				delete(wanted, f.RecordTip)
			}
		}
	}
	return nil
}

// archiveFiles returns the paths of all archives in [paths] archive and in the folders of
// the archives that the database knows, by name. Those that it does not know count too.
func (c *fileCheck) archiveFiles(ctx context.Context) ([]string, error) {
	known, err := c.DB.Archives(ctx)
	if err != nil {
		return nil, err
	}
	folders, recorded := map[string]bool{c.Paths.Archive: true}, map[string]bool{}
	for _, a := range known {
		folders[filepath.Dir(a.Path)], recorded[a.Name] = true, true
	}
	var found []string
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		if folder == "" {
			continue
		}
		entries, err := os.ReadDir(folder)
		if err != nil {
			continue // the look at the archives tells of it
		}
		for _, entry := range entries {
			at := filepath.Join(folder, entry.Name())
			if info, err := os.Stat(at); format.NameForm.MatchString(entry.Name()) && err == nil && info.Mode().IsRegular() {
				found = append(found, at)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b string) int { // those that others may have put there are the last
		return cmp.Compare(map[bool]int{true: 0, false: 1}[recorded[filepath.Base(a)]], map[bool]int{true: 0, false: 1}[recorded[filepath.Base(b)]])
	})
	return found, nil
}

// registerArchives tells the database about the archives that hold missing files, and
// returns how many of these it has in an archive now. What is in an archive that cannot be
// registered, as it is damaged or was made up, is fetched again.
func (c *fileCheck) registerArchives(ctx context.Context, a *Area) (mended int64, err error) {
	if c.Register == nil || len(c.holding) == 0 {
		return 0, nil
	}
	refused := map[string]bool{}
	for _, at := range slices.Sorted(maps.Values(c.holding)) {
		if _, done := refused[at]; done {
			continue
		}
		c.Log.Info("mending: register an archive that holds missing files", "archive", at)
		summary, err := c.Register(ctx, at)
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		refused[at] = err != nil && !errors.Is(err, storage.ErrLocked) && !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, files.ErrNotMounted)
		if err != nil {
			a.Fact(fmt.Sprintf("%s was not registered: %v", at, err))
			continue
		}
		a.Fact(fmt.Sprintf("%s is registered: %s", at, health.Plural(int64(summary.FilesLinked), "file is found|files are found")))
	}
	first, again := len(c.lost), int64(0)
	tips := map[string]bool{}
	for _, m := range c.missing {
		at, is := c.holding[m.path]
		i, queued := c.lostAt[m.tip]
		switch {
		case is && !refused[at]:
			tips[m.tip] = true
		case is && m.problem <= fileHash && (!queued || i >= first): // a record is queued once a run
			c.lose(m.tip, m.token, m.attachmentTip)
			again++
		}
	}
	if first < len(c.lost) {
		queued, err := c.queueLost(ctx, c.lost[first:])
		if err != nil {
			return 0, err
		}
		a.Fact(health.Plural(int64(queued), "record") + " queued again for files that only such an archive claims to hold")
		if queued == len(c.lost)-first {
			mended = again
		}
	}
	for page := range slices.Chunk(slices.Sorted(maps.Keys(tips)), filesPage) {
		records, err := c.DB.RecordFiles(ctx, page)
		if err != nil {
			return mended, err
		}
		for _, r := range records {
			for _, f := range r.Files {
				if c.holding[f.Path] != "" && f.ArchiveID != nil {
					mended++
				}
			}
		}
	}
	return mended, nil
}
