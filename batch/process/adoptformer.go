package process

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strconv"
	"strings"

	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/gate"
	"noggin/batch/media"
	"noggin/storage"
)

// A run that is killed after it named a file leaves one that the database does not know. If
// the platform still serves its bytes, the next run uses it. Else it becomes a former file,
// which its name decides: that of one of the record's attachments, as noggin makes it.

// unknownFile is a file in the record's folder that the database did not know when the work
// on the record began.
type unknownFile struct {
	name  string
	owner uint32
	forms.FileParts
}

// isOf tells whether the file has a name that noggin gives to the attachment whose files
// have the stem.
func (u unknownFile) isOf(tip, stem string) bool {
	return u.Number > 0 && u.Stem == stem && (u.Suffix == "" || u.Suffix == suffixOf(tip))
}

// stemOf is the stem that all files of an attachment share, by the path of one.
func stemOf(file string) string { return forms.NameParts(path.Base(file)).Stem }

// listUnknown lists the files in the record's folder that the database does not know.
func (w *work) listUnknown() error {
	known := map[string]bool{}
	for _, name := range w.stored.Taken {
		known[name] = true
	}
	for _, a := range w.stored.Attachments {
		known[path.Base(storage.ValueOf(a.Path))] = true
	}
	entries, err := w.run.output.Entries(w.stored.Folder)
	if err != nil { // it does not exist yet, or its files are in an archive
		return files.OwnFault(err)
	}
	for _, entry := range entries {
		parts := forms.NameParts(entry.Name())
		w.highest = max(w.highest, parts.Number)
		if entry.Mode().IsRegular() && !known[entry.Name()] {
			w.unknown = append(w.unknown, unknownFile{entry.Name(), files.OwnerOf(entry), parts})
		}
	}
	return nil
}

// hasUnknown tells whether an unknown file has the name of the attachment: it is compared,
// as a killed run may have been about to replace its bytes.
func (w *work) hasUnknown(a *storage.Attachment) bool {
	return slices.ContainsFunc(w.unknown, func(u unknownFile) bool { return u.isOf(a.Tip, stemOf(storage.ValueOf(a.Path))) })
}

// recordUnknown records the unknown files that are the record's, and that nothing has used
// since. With --adopt, as after a restore of the database, former reports and the
// attachments that they list are among them, whoever owns them.
func (w *work) recordUnknown(ctx context.Context) error {
	if len(w.unknown) == 0 || w.stale() && !w.run.opts.Adopt { // of a stale answer nothing was compared
		return nil
	}
	former, err := w.run.db.FormerFiles(ctx, w.claim.Tip)
	if err != nil {
		return err
	}
	owner, err := w.run.output.Owner(files.MarkerName)
	if err != nil {
		return err
	}
	r := recording{work: w, used: map[string]bool{}, found: map[string]int{}}
	tips := map[string]string{} // of attachments, by the stem of their files
	for _, file := range former {
		r.used[file.Path], tips[stemOf(file.Path)] = true, file.AttachmentTip
	}
	for _, a := range w.stored.Attachments {
		file := storage.ValueOf(a.Path)
		if r.used[file], tips[stemOf(file)] = true, a.Tip; a.Status != storage.AttachmentComplete {
			w.unsure = append(w.unsure, a.Tip) // a later run may still use its file
		}
	}
	for _, s := range w.result.Suspects {
		r.used[s.Path] = true
	}
	if w.result.FormerReport != nil {
		r.used[w.result.FormerReport.Path] = true
	}
	for _, u := range w.unknown {
		if report, version := forms.FormerReport(u.name); version > 0 && report == w.ownReport() && w.run.opts.Adopt {
			if err := r.report(ctx, u.name, version); err != nil {
				return err
			}
		}
	}
	for _, u := range w.unknown {
		if w.run.opts.Adopt || u.owner == owner {
			if err := r.bytes(ctx, u, tips[u.Stem]); err != nil {
				return err
			}
		}
	}
	return nil
}

// adoptOfGone is recordUnknown for a complete record that the API does not give any more,
// with --adopt. It returns err, or what kept it from looking.
func (w *work) adoptOfGone(ctx context.Context, err error) error {
	if class := gate.ClassOf(err); !w.run.opts.Adopt || w.claim.Status != storage.StatusComplete || w.folder != nil || class != gate.Absent && class != gate.Forbidden {
		return err
	}
	stored, ok, own := w.run.db.CurrentAnswer(ctx, w.key())
	if own == nil && ok && stored.Folder != "" {
		w.stored, w.folder = stored, w.run.output.Folder(stored.Folder, stored.Taken...)
		own = cmp.Or(w.listUnknown(), w.recordUnknown(ctx))
	}
	return cmp.Or(own, err)
}

// recording is what recordUnknown knows.
type recording struct {
	*work
	used  map[string]bool // the paths of files that are recorded
	found map[string]int  // by path, the place in the result
}

// report takes in a former report of this record, and the attachments that it lists.
func (r *recording) report(ctx context.Context, name string, version int) error {
	tip, listed, err := r.readReport(r.stored.Folder, name)
	if err != nil || tip != r.claim.Tip {
		return err
	}
	if err := r.take(ctx, storage.FoundFile{Path: path.Join(r.stored.Folder, name), Kind: "report", Version: version, LastVersion: version}); err != nil {
		return err
	}
	for tip, file := range listed {
		if err := r.take(ctx, storage.FoundFile{Path: file.path, Kind: "attachment", AttachmentTip: tip, SHA256: file.sum, Version: version, LastVersion: version}); err != nil {
			return err
		}
	}
	return nil
}

// bytes takes in a file that its name says to be of an attachment, of the current version
// or of a former one.
func (r *recording) bytes(ctx context.Context, u unknownFile, tip string) error {
	if tip == "" || !u.isOf(tip, u.Stem) || slices.Contains(r.unsure, tip) {
		return nil
	}
	version := max(r.stored.Version, 1)
	if n, err := strconv.Atoi(strings.TrimPrefix(u.Mark, "v")); err == nil {
		if n > version && !r.run.opts.Adopt {
			return nil // noggin has not used this number yet
		}
		version = min(max(n, 1), version)
	}
	return r.take(ctx, storage.FoundFile{Path: path.Join(r.stored.Folder, u.name), Kind: "attachment", AttachmentTip: tip, Version: version, LastVersion: version})
}

// take adds a file to the result, if it is there, not used, and has the SHA-256 that is
// known of it; without one, if its extension is that of its content. A file of several
// versions is one.
func (r *recording) take(ctx context.Context, found storage.FoundFile) error {
	if i, again := r.found[found.Path]; again {
		old := &r.result.Found[i]
		if found.SHA256 != "" {
			old.Version, old.LastVersion = min(old.Version, found.Version), max(old.LastVersion, found.LastVersion)
		}
		return nil
	}
	if r.used[found.Path] {
		return nil
	}
	file, _, err := r.run.output.Open(found.Path)
	if err != nil {
		return files.OwnFault(err)
	}
	defer files.Release(file)
	size, sum, err := r.run.output.Digest(ctx, found.Path, file)
	if err != nil {
		return err
	}
	if found.SHA256 != "" && found.SHA256 != sum {
		r.run.log.Warn("a file of a former version is not the one that its report lists; it is left as it is", "tip", r.claim.Tip, "path", found.Path)
		return nil
	}
	if found.Kind != "report" {
		parts := forms.NameParts(path.Base(found.Path))
		verdict, err := media.Judge(file, size, "")
		switch {
		case err != nil:
			return files.WrapDisk("read", found.Path, err)
		case found.SHA256 == "" && path.Ext(found.Path) != "."+verdict.Ext:
			return nil // such as notes beside a photograph
		case found.SHA256 == "" && (parts.Mark == "suspect" || verdict.Status == storage.ValidationFailed):
			found.Kind = "suspect"
		}
		found.Sequence = parts.Number
	}
	if err := cmp.Or(r.run.output.FlushFile(found.Path, file), r.folder.Touch()); err != nil {
		return err
	}
	r.run.log.Info("a file that the database did not know is recorded as a former one", "tip", r.claim.Tip, "attachment", found.AttachmentTip,
		"path", found.Path, "kind", found.Kind, "run_id", r.run.id)
	found.RecordTip, found.Size, found.SHA256, found.Highest = r.claim.Tip, size, sum, r.highest
	r.found[found.Path] = len(r.result.Found)
	r.result.Found = append(r.result.Found, found)
	return nil
}
