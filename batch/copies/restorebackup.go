package copies

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"noggin/batch/copies/place"
	"noggin/batch/files"
)

// RestoredBackup is a backup that came back.
type RestoredBackup struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
	SHA   string `json:"sha256"`
	// PassedOver are the backups whose time is ahead, where the newest was asked for.
	PassedOver []string `json:"passed_over"`
}

// backupKey matches the key of a backup.
var backupKey = regexp.MustCompile(`^` + backupsFolder + `/(noggin_.+_([0-9]{8}_[0-9]{6})\.dump)(\.json)?\.([0-9a-f]{64})$`)

// ErrNoBackup says that the target has no such backup.
var ErrNoBackup = errors.New("the target has no such backup")

// foundBackup is a backup or a manifest in the target.
type foundBackup struct {
	place.Found
	name, at, sum string
}

// isAhead tells whether the time in the name is more than a day after now, or none: the
// clock was ahead, or the name is not noggin's.
func (f foundBackup) isAhead(now time.Time) bool {
	at, err := time.Parse("20060102_150405", f.at)
	return err != nil || at.After(now.AddDate(0, 0, 1))
}

// RestoreBackup writes a backup of the database and its manifest into a folder. It needs
// no database. name "" is the newest backup, of those whose time is not ahead and that have
// a manifest, if there are any.
func (c *Copier) RestoreBackup(ctx context.Context, name, folder string) (RestoredBackup, error) {
	to, err := c.openThere(ctx)
	if err != nil {
		return RestoredBackup{}, err
	}
	defer files.Release(to)
	var dumps []foundBackup
	manifests := map[string]foundBackup{} // by the name of the backup; the newest of each
	err = to.List(ctx, backupsFolder, func(f place.Found) error {
		match := backupKey.FindStringSubmatch(f.Key)
		if match == nil || name != "" && match[1] != name || strings.Contains(match[1], "/") {
			return nil
		}
		one := foundBackup{f, match[1], match[2], match[4]}
		if match[3] == "" {
			dumps = append(dumps, one)
		} else if other, is := manifests[one.name]; !is || one.Modified.After(other.Modified) {
			manifests[one.name] = one
		}
		return nil
	})
	if err != nil {
		return RestoredBackup{}, err
	}
	if len(dumps) == 0 && name == "" {
		return RestoredBackup{}, fmt.Errorf("%w: %s has none at all", ErrNoBackup, c.Config.url())
	}
	if len(dumps) == 0 {
		return RestoredBackup{}, fmt.Errorf("%w: %s in %s", ErrNoBackup, name, c.Config.url())
	}
	result := RestoredBackup{PassedOver: []string{}}
	if name == "" {
		dumps, result.PassedOver = c.passOverAhead(dumps, time.Now())
	}
	// A run that was killed may have copied a backup without its manifest.
	if whole := slices.DeleteFunc(slices.Clone(dumps), func(f foundBackup) bool { return manifests[f.name].name == "" }); len(whole) > 0 {
		dumps = whole
	}
	dump := slices.MaxFunc(dumps, func(a, b foundBackup) int { return cmp.Or(cmp.Compare(a.at, b.at), a.Modified.Compare(b.Modified)) })
	manifest := manifests[dump.name]
	if manifest.name == "" {
		c.Log.Warn("the target has no manifest of the backup, without which noggin cannot check it", "backup", dump.name)
	}
	if err := files.MakeFolders(folder); err != nil {
		return RestoredBackup{}, files.WrapDisk("create folder", folder, err)
	}
	result.Path, result.Bytes, result.SHA = filepath.Join(folder, dump.name), dump.Size, dump.sum
	for _, one := range []foundBackup{manifest, dump} {
		if one.name == "" {
			continue
		}
		at := result.Path
		if one.sum != dump.sum {
			at += manifestSuffix
		}
		o := place.Object{Key: one.Key, Size: one.Size, SHA256: one.sum}
		if err := c.fetch(ctx, to, o, at); err != nil {
			return result, err
		}
	}
	return result, nil
}

// passOverAhead leaves out the backups whose time is ahead, unless there are no others.
func (c *Copier) passOverAhead(dumps []foundBackup, now time.Time) (rest []foundBackup, passedOver []string) {
	passedOver = []string{}
	for _, dump := range dumps {
		if dump.isAhead(now) {
			passedOver = append(passedOver, dump.name)
		} else {
			rest = append(rest, dump)
		}
	}
	if len(rest) == 0 {
		c.Log.Warn("the time of every backup in the target is ahead: a clock was wrong, or somebody else named them", "backups", passedOver)
		return dumps, []string{}
	}
	return rest, passedOver
}

// fetch writes an object as a new file. A file with the same content may be there.
func (c *Copier) fetch(ctx context.Context, to target, o place.Object, at string) error {
	if size, sum, err := files.HashFile(ctx, at); err == nil && size == o.Size && sum == o.SHA256 {
		return nil
	}
	content, err := to.Read(ctx, o)
	if err != nil {
		return err
	}
	defer files.Release(content)
	const mode os.FileMode = 0o640 // hides the inspections from other users of the host
	return files.WriteNew(at, mode, func(w io.Writer) error { return place.CopyChecked(w, o, content) })
}
