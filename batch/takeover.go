package batch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"noggin/storage"
)

const (
	legacyPage = 5_000 // files of the database looked for together
	treePage   = 5_000 // names of the tree looked up together
)

// locateLegacyFiles finds files that the replaced service downloaded and that are not
// where it said, wherever in the output folder they lie. What the database knows of a
// file has to agree: its hash, or its size where no other attachment's file has that
// name. The record's own run looks at the content then.
func (r *run) locateLegacyFiles(ctx context.Context) error {
	missing, err := r.missingLegacyFiles(ctx)
	if errors.Is(context.Cause(ctx), errTimeOver) {
		return nil // nothing is claimed any more
	}
	if err != nil || missing == 0 {
		return err
	}
	r.Log.Info("files of the replaced service are not where it said; the output folder is searched for them", "files", missing)
	found := 0
	paths := make(map[string][]string, treePage) // by their last name
	names := 0
	look := func() error {
		n, err := r.matchLegacyFiles(ctx, paths)
		found += n
		names = 0
		clear(paths)
		return err
	}
	err = fs.WalkDir(r.output.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && entry != nil && entry.IsDir():
			r.Log.Warn("a folder cannot be searched", "path", name, "error", err)
			return fs.SkipDir
		case err != nil:
			return r.output.fail("search", name, err)
		case entry.IsDir() && (name == TempFolder || name == RemovingFolder):
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		paths[entry.Name()] = append(paths[entry.Name()], name)
		if names++; names < treePage {
			return nil
		}
		return look()
	})
	if err == nil {
		err = look()
	}
	switch {
	case errors.Is(context.Cause(ctx), errTimeOver):
		return nil
	case err != nil:
		return fmt.Errorf("search the output folder for files of the replaced service: %w", err)
	}
	r.Log.Info("searched the output folder for files of the replaced service", "missing", missing, "found", found)
	return nil
}

// missingLegacyFiles counts the files that are not where the replaced service said.
func (r *run) missingLegacyFiles(ctx context.Context) (missing int, err error) {
	var after storage.LegacyFile
	for {
		page, err := r.DB.LegacyFilesAfter(ctx, r.opts.Selector, after, legacyPage)
		if err != nil || len(page) == 0 {
			return missing, err
		}
		after = page[len(page)-1]
		for _, f := range page {
			there, err := r.output.isFile(f.Path)
			if err != nil {
				return missing, err
			}
			if !there {
				missing++
			}
		}
	}
}

// matchLegacyFiles gives files of the tree to the attachments whose they are.
func (r *run) matchLegacyFiles(ctx context.Context, paths map[string][]string) (found int, err error) {
	names := make([]string, 0, len(paths))
	for name := range paths {
		names = append(names, name)
	}
	if len(names) == 0 {
		return 0, nil
	}
	files, err := r.DB.LegacyFilesNamed(ctx, r.opts.Selector, names)
	if err != nil {
		return 0, err
	}
	located := files[:0]
	for _, f := range files {
		there, err := r.output.isFile(f.Path)
		if err != nil {
			return 0, err
		}
		if there || f.Size == nil && f.SHA256 == nil || f.SHA256 == nil && f.Namesakes > 1 {
			continue
		}
		for _, candidate := range paths[f.Filename] {
			agrees, err := r.agrees(candidate, f)
			if err != nil {
				return 0, err
			}
			if agrees {
				f.Path = candidate
				located = append(located, f)
				break
			}
		}
	}
	return len(located), r.DB.SetLegacyPaths(ctx, located)
}

// agrees compares a file of the tree with what is known of an attachment's.
func (r *run) agrees(name string, f storage.LegacyFile) (bool, error) {
	file, info, err := r.output.Open(name)
	if err != nil {
		return false, ownFault(err)
	}
	release(file)
	if f.Size != nil && info.Size() != *f.Size {
		return false, nil
	}
	if f.SHA256 == nil {
		return true, nil
	}
	err = r.output.Verify(name, info.Size(), *f.SHA256)
	return err == nil, ownFault(err)
}

// isFile tells whether a regular file has that name, which may be any text.
func (o *Output) isFile(name string) (bool, error) {
	if validPath(name) != nil || path.Clean(name) != name {
		return false, nil
	}
	info, err := o.root.Lstat(name)
	if err != nil {
		return false, o.Check()
	}
	return info.Mode().IsRegular(), nil
}
