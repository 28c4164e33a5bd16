package copies

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"

	"noggin/batch/copies/place"
	"noggin/batch/files"
	"noggin/storage"
)

// addUnknown restores the files of which the database has no row: those that were copied
// after its backup was made. What they hold is as their keys say.
func (r *restorer) addUnknown(ctx context.Context) error {
	var page []storage.File
	err := r.to.List(place.WithLongListing(ctx), filesFolder, func(found place.Found) error {
		file, sum := strings.TrimPrefix(found.Key, filesFolder+"/"), path.Ext(found.Key)
		if len(sum) != 1+64 {
			return nil
		}
		page = append(page, storage.File{Path: strings.TrimSuffix(file, sum), SHA256: sum[1:], Size: found.Size, Complete: true})
		if len(page) < restorePage {
			return nil
		}
		full := page
		page = nil
		return r.addPage(ctx, full)
	})
	if err != nil {
		return err
	}
	return r.addPage(ctx, page)
}

// addPage restores the unknown ones of some files, folder by folder.
func (r *restorer) addPage(ctx context.Context, page []storage.File) error {
	unknown, err := r.unknownOf(ctx, page)
	if err != nil {
		return err
	}
	dirs := slices.Sorted(maps.Keys(unknown))
	working, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	each(r.Config.Concurrency, len(dirs), func(i int) {
		if working.Err() == nil {
			if err := r.addFolder(working, dirs[i], unknown[dirs[i]]); err != nil {
				cancel(err)
			}
		}
	})
	r.missed = nil // the database has no rows of them
	r.report(Progress{Phase: "restoring", Done: r.summary.Files, Bytes: r.summary.Bytes})
	return context.Cause(working)
}

func (r *restorer) addFolder(ctx context.Context, dir string, unknown []storage.File) error {
	folder := r.output.Folder(dir)
	defer folder.Close()
	folders := map[string]*files.Folder{dir: folder}
	for _, f := range unknown {
		there, err := r.restoreFile(ctx, f, folders)
		if err != nil {
			return err
		}
		if there {
			r.count(&r.summary.Unknown)
		}
	}
	return folder.Sync()
}

// unknownOf returns the files of which the database has no row, by their folders: neither
// a copy in the target, which may be of a replaced report, nor a file of a record.
func (r *restorer) unknownOf(ctx context.Context, page []storage.File) (map[string][]storage.File, error) {
	keys := make([]storage.CopyKey, len(page))
	var dirs []string
	for i, f := range page {
		keys[i] = storage.CopyKey{Path: f.Path, SHA256: f.SHA256}
		dirs = append(dirs, path.Dir(f.Path))
	}
	slices.Sort(dirs)
	tips, err := r.DB.TipsOfFolders(ctx, slices.Compact(dirs))
	if err != nil {
		return nil, err
	}
	records, err := r.filesOf(ctx, tips)
	if err != nil {
		return nil, err
	}
	copied, err := r.DB.KeysOfCopies(ctx, r.id, keys)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{} // by the key in the target, in which a long name is cut
	for _, key := range copied {
		known[object(storage.CopyFormer, key, 0).Key] = true
	}
	at := map[string]storage.File{} // by path
	for _, of := range records {
		for _, f := range of {
			at[f.Path] = f
			known[object(storage.CopyFormer, storage.CopyKey{Path: f.Path, SHA256: strings.ToLower(f.SHA256)}, 0).Key] = true
		}
	}
	unknown := map[string][]storage.File{}
	for i, f := range page {
		if known[object(storage.CopyFormer, keys[i], 0).Key] {
			continue
		}
		if other, is := at[f.Path]; is && r.output.Verify(f.Path, other.Size, other.SHA256) == nil {
			r.problem(f.Path, "the file here is the one in the database, and need not be moved; the target has another one too, which stays there")
			continue
		}
		dir := path.Dir(f.Path)
		unknown[dir] = append(unknown[dir], f)
	}
	return unknown, nil
}
