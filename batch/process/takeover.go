package process

import (
	"context"
	"errors"
	"fmt"
	"path"

	"noggin/storage"
)

const (
	legacyPage = 5_000 // files of the database that are read together
	treePage   = 5_000 // names of the tree that are looked up together
)

// locateLegacyFiles searches the output folder for files that the replaced service
// downloaded and that are not where it recorded them. A file matches by its name and its
// hash; without a known hash by its name and size, if no other attachment's file has that
// name. The content is checked later, with the record.
func (r *run) locateLegacyFiles(ctx context.Context) error {
	missing, err := r.missingLegacyFiles(ctx)
	if errors.Is(context.Cause(ctx), errTimeOver) {
		return nil // the run ends: it claims nothing
	}
	if err != nil || missing == 0 {
		return err
	}
	r.log.Info("files of the replaced service are not where it recorded them; searching the output folder", "files", missing)
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
	err = r.output.Walk(ctx, func(name string) error {
		last := path.Base(name)
		paths[last] = append(paths[last], name)
		if names++; names < treePage {
			return nil
		}
		return look()
	}, func(dir string, err error) {
		r.log.Warn("a folder cannot be searched", "path", dir, "error", err)
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
	r.log.Info("searched the output folder for files of the replaced service", "missing", missing, "found", found)
	return nil
}

// missingLegacyFiles counts the files that are not where the replaced service recorded
// them.
func (r *run) missingLegacyFiles(ctx context.Context) (missing int, err error) {
	var after storage.LegacyFile
	for {
		page, err := r.db.LegacyFilesAfter(ctx, r.opts.Selector, after, legacyPage)
		if err != nil || len(page) == 0 {
			return missing, err
		}
		after = page[len(page)-1]
		for _, f := range page {
			there, err := r.output.IsFile(f.Path)
			if err != nil {
				return missing, err
			}
			if !there {
				missing++
			}
		}
	}
}

// matchLegacyFiles records for each attachment its file among those of the tree.
func (r *run) matchLegacyFiles(ctx context.Context, paths map[string][]string) (found int, err error) {
	names := make([]string, 0, len(paths))
	for name := range paths {
		names = append(names, name)
	}
	if len(names) == 0 {
		return 0, nil
	}
	files, err := r.db.LegacyFilesNamed(ctx, r.opts.Selector, names)
	if err != nil {
		return 0, err
	}
	located := files[:0]
	for _, f := range files {
		there, err := r.output.IsFile(f.Path)
		if err != nil {
			return 0, err
		}
		if there || f.Size == nil && f.SHA256 == nil || f.SHA256 == nil && f.Namesakes > 1 {
			continue
		}
		for _, candidate := range paths[f.Filename] {
			agrees, err := r.output.Agrees(candidate, f.Size, f.SHA256)
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
	return len(located), r.db.SetLegacyPaths(ctx, located)
}
