package adopt

import (
	"context"
	"fmt"
	"path"

	"noggin/storage"
)

// Tests lower these.
var (
	legacyPage = 5_000 // files of the database that are read together
	treePage   = 5_000 // names of the tree that are looked up together
)

// LocateLegacy searches the output folder for files that the replaced service
// downloaded and that are not where it recorded them. A file matches by its name and its
// hash; without a known hash by its name and size, if no other attachment's file has that
// name. The content is checked later, with the record.
func (f *Finder) LocateLegacy(ctx context.Context, selector storage.Selector) error {
	missing, err := f.missingLegacyFiles(ctx, selector)
	if err != nil || missing == 0 {
		return err
	}
	f.Log.Info("files of the replaced service are not where it recorded them; searching the output folder", "files", missing)
	found := 0
	paths := make(map[string][]string, treePage) // by their last name
	names := 0
	look := func() error {
		n, err := f.matchLegacyFiles(ctx, selector, paths)
		found += n
		names = 0
		clear(paths)
		return err
	}
	err = f.Output.Walk(ctx, func(name string) error {
		last := path.Base(name)
		paths[last] = append(paths[last], name)
		if names++; names < treePage {
			return nil
		}
		return look()
	}, func(dir string, err error) {
		f.Log.Warn("a folder cannot be searched", "path", dir, "error", err)
	})
	if err == nil {
		err = look()
	}
	if err != nil {
		return fmt.Errorf("search the output folder for files of the replaced service: %w", err)
	}
	f.Log.Info("searched the output folder for files of the replaced service", "missing", missing, "found", found)
	return nil
}

// missingLegacyFiles counts the files that are not where the replaced service recorded
// them.
func (f *Finder) missingLegacyFiles(ctx context.Context, selector storage.Selector) (missing int, err error) {
	var after storage.LegacyFile
	for {
		page, err := f.DB.LegacyFilesAfter(ctx, selector, after, legacyPage)
		if err != nil || len(page) == 0 {
			return missing, err
		}
		after = page[len(page)-1]
		for _, file := range page {
			there, err := f.Output.IsFile(file.Path)
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
func (f *Finder) matchLegacyFiles(ctx context.Context, selector storage.Selector, paths map[string][]string) (found int, err error) {
	names := make([]string, 0, len(paths))
	for name := range paths {
		names = append(names, name)
	}
	if len(names) == 0 {
		return 0, nil
	}
	files, err := f.DB.LegacyFilesNamed(ctx, selector, names)
	if err != nil {
		return 0, err
	}
	located := files[:0]
	for _, file := range files {
		there, err := f.Output.IsFile(file.Path)
		if err != nil {
			return 0, err
		}
		if there || file.Size == nil && file.SHA256 == nil || file.SHA256 == nil && file.Namesakes > 1 {
			continue
		}
		for _, candidate := range paths[file.Filename] {
			agrees, err := f.Output.Agrees(candidate, file.Size, file.SHA256)
			if err != nil {
				return 0, err
			}
			if agrees {
				file.Path = candidate
				located = append(located, file)
				break
			}
		}
	}
	return len(located), f.DB.SetLegacyPaths(ctx, located)
}
