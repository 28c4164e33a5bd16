package process

import (
	"context"
	"io"
	"path"

	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/storage"
)

// formerFolder is what a record's folder holds beside its current files.
type formerFolder struct {
	*work
	current  map[string]bool   // the paths of the current files, and of those that are known already
	tips     map[string]string // of the current attachments, by the stem of their files
	found    map[string]int    // by path, the place in the result
	reports  []string          // names of former reports
	unlisted []string          // names of other files
}

// adoptFormer finds the files of former versions in the record's folder, after a restore of
// the database: the former reports, the attachments that they list, and other bytes of the
// current attachments.
func (w *work) adoptFormer(ctx context.Context) error {
	if !w.run.opts.Adopt {
		return nil
	}
	f := formerFolder{work: w, current: map[string]bool{}, tips: map[string]string{}, found: map[string]int{}}
	known, err := w.run.db.FormerFiles(ctx, w.claim.Tip)
	if err != nil {
		return err
	}
	for _, file := range known {
		f.current[file.Path] = true
	}
	for _, a := range w.stored.Attachments {
		if a.Path != nil {
			f.current[*a.Path] = true
			stem, _, _ := forms.NameParts(path.Base(*a.Path))
			f.tips[stem] = a.Tip
		}
	}
	highest, err := f.list()
	if err != nil {
		return err
	}
	for _, name := range f.reports {
		if err := f.report(ctx, name); err != nil {
			return err
		}
	}
	for _, name := range f.unlisted {
		if err := f.bytes(ctx, name); err != nil {
			return err
		}
	}
	for i := range w.result.Found {
		w.result.Found[i].Highest = highest
	}
	return nil
}

// list lists the folder and returns the highest number in the name of an attachment.
func (f *formerFolder) list() (highest int, err error) {
	entries, err := f.run.output.Entries(f.stored.Folder)
	if err != nil {
		return 0, files.OwnFault(err)
	}
	own := forms.ReportName(forms.RecordName(f.record.InspectionID, f.claim.Tip))
	for _, entry := range entries {
		name := entry.Name()
		_, number, _ := forms.NameParts(name)
		highest = max(highest, number)
		switch report, version := forms.FormerReport(name); {
		case !entry.Mode().IsRegular() || f.current[path.Join(f.stored.Folder, name)]:
		case version > 0 && report == own:
			f.reports = append(f.reports, name)
		default:
			f.unlisted = append(f.unlisted, name)
		}
	}
	return highest, nil
}

// report takes in a former report of this record, and the attachments that it lists.
func (f *formerFolder) report(ctx context.Context, name string) error {
	at := path.Join(f.stored.Folder, name)
	file, _, err := f.run.output.Open(at)
	if err != nil {
		return files.OwnFault(err)
	}
	tip, listed := readReportFiles(io.LimitReader(file, maxReportRead), f.stored.Folder)
	files.Release(file)
	if tip != f.claim.Tip {
		return nil
	}
	_, version := forms.FormerReport(name)
	if err := f.take(ctx, storage.FoundFile{Path: at, Kind: "report", Version: version, LastVersion: version}); err != nil {
		return err
	}
	for tip, file := range listed {
		if err := f.take(ctx, storage.FoundFile{Path: file.path, Kind: "attachment", AttachmentTip: tip, SHA256: file.sum, Version: version, LastVersion: version}); err != nil {
			return err
		}
	}
	return nil
}

// bytes takes in other bytes of a current attachment, which only their name tells.
func (f *formerFolder) bytes(ctx context.Context, name string) error {
	stem, _, mark := forms.NameParts(name)
	tip, is := f.tips[stem]
	if !is {
		return nil
	}
	kind := "attachment"
	if mark == "suspect" {
		kind = mark
	}
	return f.take(ctx, storage.FoundFile{Path: path.Join(f.stored.Folder, name), Kind: kind, AttachmentTip: tip, Version: 1, LastVersion: 1})
}

// take adds a file to the result, if it is there, not current, and has the SHA-256 that is
// known of it. A file of several versions is one.
func (f *formerFolder) take(ctx context.Context, found storage.FoundFile) error {
	if i, again := f.found[found.Path]; again {
		old := &f.result.Found[i]
		old.Version, old.LastVersion = min(old.Version, found.Version), max(old.LastVersion, found.LastVersion)
		return nil
	}
	if f.current[found.Path] {
		return nil
	}
	file, _, err := f.run.output.Open(found.Path)
	if err != nil {
		return files.OwnFault(err)
	}
	defer files.Release(file)
	size, sum, err := f.run.output.Digest(ctx, found.Path, file)
	if err != nil {
		return err
	}
	if found.SHA256 != "" && found.SHA256 != sum {
		f.run.log.Warn("a file of a former version is not the one that its report lists; it is left as it is", "tip", f.claim.Tip, "path", found.Path)
		return nil
	}
	if err := f.run.output.FlushFile(found.Path, file); err != nil {
		return err
	}
	if found.Kind != "report" {
		_, found.Sequence, _ = forms.NameParts(path.Base(found.Path))
	}
	found.RecordTip, found.Size, found.SHA256 = f.claim.Tip, size, sum
	f.found[found.Path] = len(f.result.Found)
	f.result.Found = append(f.result.Found, found)
	return nil
}
