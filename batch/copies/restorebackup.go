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

	"noggin/batch/copies/place"
	"noggin/batch/files"
)

// RestoredBackup is a backup that came back.
type RestoredBackup struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
	SHA   string `json:"sha256"`
}

// backupKey matches the key of a backup.
var backupKey = regexp.MustCompile(`^` + backupsFolder + `/(noggin_.+_([0-9]{8}_[0-9]{6})\.dump)(\.json)?\.([0-9a-f]{64})$`)

// ErrNoBackup says that the target has no such backup.
var ErrNoBackup = errors.New("the target has no such backup")

// RestoreBackup writes a backup of the database and its manifest into a folder. It needs
// no database. name "" is the newest backup, of those with a manifest if there are any.
func (c *Copier) RestoreBackup(ctx context.Context, name, folder string) (RestoredBackup, error) {
	to, err := c.openThere(ctx)
	if err != nil {
		return RestoredBackup{}, err
	}
	defer files.Release(to)
	type found struct {
		place.Found
		name, at, sum string
	}
	var dumps []found
	manifests := map[string]found{} // by the name of the backup; the newest of each
	err = to.List(ctx, backupsFolder, func(f place.Found) error {
		match := backupKey.FindStringSubmatch(f.Key)
		if match == nil || name != "" && match[1] != name || strings.Contains(match[1], "/") {
			return nil
		}
		one := found{f, match[1], match[2], match[4]}
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
	// A run that was killed may have copied a backup without its manifest.
	if whole := slices.DeleteFunc(slices.Clone(dumps), func(f found) bool { return manifests[f.name].name == "" }); len(whole) > 0 {
		dumps = whole
	}
	dump := slices.MaxFunc(dumps, func(a, b found) int { return cmp.Or(cmp.Compare(a.at, b.at), a.Modified.Compare(b.Modified)) })
	manifest := manifests[dump.name]
	if manifest.name == "" {
		c.Log.Warn("the target has no manifest of the backup, without which noggin cannot check it", "backup", dump.name)
	}
	if err := files.MakeFolders(folder); err != nil {
		return RestoredBackup{}, files.WrapDisk("create folder", folder, err)
	}
	result := RestoredBackup{Path: filepath.Join(folder, dump.name), Bytes: dump.Size, SHA: dump.sum}
	for _, one := range []found{manifest, dump} {
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
