package adopt

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/media"
	"noggin/storage"
)

// A run that is killed after it named a file leaves one that the database does not know. If
// the platform still serves its bytes, the next run uses it. Else it becomes a former file,
// which its name decides: that of one of the record's attachments, as noggin makes it. Its
// bytes never were current, so they become that when the platform serves them later. Of an
// attachment that left the record before it was complete, the record keeps the number. A
// damaged file whose bytes came again is not one of those; forms.WholeBeside tells.

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
	return u.Number > 0 && u.Stem == stem && (u.Suffix == "" || u.Suffix == forms.TipSuffix(tip))
}

// stemOf is the stem that all files of an attachment share, by the path of one.
func stemOf(file string) string { return forms.NameParts(path.Base(file)).Stem }

// listUnknown lists the files in the record's folder that the database does not know.
func (d *Folder) listUnknown() error {
	known := map[string]bool{}
	for _, name := range d.stored.Taken {
		known[name] = true
	}
	for _, a := range d.stored.Attachments {
		known[path.Base(storage.ValueOf(a.Path))] = true
	}
	entries, err := d.Output.Entries(d.stored.Folder)
	if err != nil { // it does not exist yet, or its files are in an archive
		return files.OwnFault(err)
	}
	for _, entry := range entries {
		parts := forms.NameParts(entry.Name())
		d.highest = max(d.highest, parts.Number)
		if entry.Mode().IsRegular() && !known[entry.Name()] && forms.WholeBeside(entry.Name(), maps.Keys(known)) == "" {
			d.unknown = append(d.unknown, unknownFile{entry.Name(), files.OwnerOf(entry), parts})
		}
	}
	return nil
}

// Damaged returns the path and the SHA-256 of the file that the record's text report lists
// for the attachment, if it does not have the listed bytes; else "".
func (d *Folder) Damaged(tip string) (at, sum string) {
	file, ok := d.listed[tip]
	if !ok {
		return "", ""
	}
	if same, err := d.Output.Agrees(file.path, nil, &file.sum); same || err != nil {
		return "", ""
	}
	return file.path, file.sum
}

// BringBack gives bytes that came the name of a lost former file that has them, and tells
// whether there was one. A file that is there, such as a damaged one, stays as it is.
func (d *Folder) BringBack(came *files.TempFile, former []storage.FormerFile) (back bool, err error) {
	for _, f := range former {
		if f.SHA256 != came.SHA256() || f.ArchiveID != nil || path.Dir(f.Path) != d.stored.Folder || !errors.Is(d.Output.Verify(f.Path, f.Size, f.SHA256), files.ErrMissing) {
			continue
		}
		_, err := d.files.KeepExactly(came, path.Base(f.Path))
		if err == nil {
			d.Log.Info("a lost file of a former version is back", "tip", d.stored.Tip, "attachment", f.AttachmentTip, "path", f.Path, "run_id", d.Run)
			return true, nil
		}
		if !errors.Is(err, files.ErrDiffers) && !errors.Is(err, files.ErrObstacle) {
			return false, err
		}
	}
	return false, nil
}

// HasUnknown tells whether an unknown file has the name of the attachment: it is compared,
// as a killed run may have been about to replace its bytes.
func (d *Folder) HasUnknown(a *storage.Attachment) bool {
	return slices.ContainsFunc(d.unknown, func(u unknownFile) bool {
		return u.isOf(a.Tip, stemOf(storage.ValueOf(a.Path))) || u.isOf(a.Tip, u.Stem) && d.numberIn(u.name) == a.Sequence
	})
}

// numberIn is the number in a name that begins as those of the record's attachments; else
// 0. The files of an attachment that moved to another question share the number alone.
func (d *Folder) numberIn(name string) int {
	if !forms.NamedIn(d.stored.Folder, d.stored.Tip, name) {
		return 0
	}
	return forms.NameParts(name).Number
}

// Unknown returns the unknown files that are the record's, and that nothing has used since:
// neither the result of the work nor a former version. With --adopt, as after a restore of
// the database, former reports and the attachments that they list are among them, whoever
// owns them. Those of the attachments that are unsure wait for a later run. What was found
// before an error is returned with it.
func (d *Folder) Unknown(ctx context.Context, result storage.Result, unsure []string) ([]storage.FoundFile, error) {
	if len(d.unknown) == 0 {
		return nil, nil
	}
	former, err := d.DB.FormerFiles(ctx, d.stored.Tip)
	if err != nil {
		return nil, err
	}
	owner, err := d.Output.Owner(files.MarkerName)
	if err != nil {
		return nil, err
	}
	r := recording{Folder: d, unsure: slices.Clip(unsure), came: map[string]bool{}, used: map[string]bool{}, at: map[string]int{}}
	for _, download := range result.Downloads {
		r.came[download.Tip] = download.Status == storage.AttachmentComplete && download.Attempted
	}
	tips, numbered := map[string]string{}, map[int]string{} // of attachments, by the stem of their files and by their numbers
	maps.Copy(numbered, d.stored.Dropped)
	for _, file := range former {
		r.used[file.Path], tips[stemOf(file.Path)], numbered[d.numberIn(path.Base(file.Path))] = true, file.AttachmentTip, file.AttachmentTip
	}
	for _, a := range d.stored.Attachments {
		file := storage.ValueOf(a.Path)
		if r.used[file], tips[stemOf(file)], numbered[a.Sequence] = true, a.Tip, a.Tip; a.Status != storage.AttachmentComplete {
			r.unsure = append(r.unsure, a.Tip) // a later run may still use its file
		}
	}
	for _, u := range d.unknown {
		if number := d.numberIn(u.name); number > 0 && tips[u.Stem] == "" {
			tips[u.Stem] = numbered[number]
		}
	}
	for _, s := range result.Suspects {
		r.used[s.Path] = true
	}
	for _, f := range result.Found {
		r.used[f.Path] = true
	}
	if result.FormerReport != nil {
		r.used[result.FormerReport.Path] = true
	}
	for _, u := range d.unknown {
		if report, version := forms.FormerReport(u.name); version > 0 && report == d.reportName && d.All {
			if err := r.report(ctx, u.name, version); err != nil {
				return r.found, err
			}
		}
	}
	if d.All { // the report may be of a version after the one that was restored
		for tip, file := range d.listed {
			if slices.Contains(r.unsure, tip) {
				continue
			}
			before := max(d.stored.Version-1, 1)
			if err := r.take(ctx, storage.FoundFile{Path: file.path, Kind: "attachment", AttachmentTip: tip, SHA256: file.sum, Version: before, LastVersion: before}, false); err != nil {
				return r.found, err
			}
		}
	}
	for _, u := range d.unknown {
		if d.All || u.owner == owner {
			if err := r.bytes(ctx, u, tips[u.Stem]); err != nil {
				return r.found, err
			}
		}
	}
	return r.found, nil
}

// recording is what Unknown knows.
type recording struct {
	*Folder
	unsure []string
	came   map[string]bool // by the tips of attachments: other bytes came from the platform since
	used   map[string]bool // the paths of files that are recorded
	found  []storage.FoundFile
	at     map[string]int // by path, the place in found
}

// report takes in a former report of this record, and the attachments that it lists.
func (r *recording) report(ctx context.Context, name string, version int) error {
	tip, listed, err := r.readReport(r.stored.Folder, name)
	if err != nil || tip != r.stored.Tip {
		return err
	}
	if err := r.take(ctx, storage.FoundFile{Path: path.Join(r.stored.Folder, name), Kind: "report", Version: version, LastVersion: version}, true); err != nil {
		return err
	}
	for tip, file := range listed {
		if err := r.take(ctx, storage.FoundFile{Path: file.path, Kind: "attachment", AttachmentTip: tip, SHA256: file.sum, Version: version, LastVersion: version}, version < r.stored.Version); err != nil {
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
		if n > version && !r.All {
			return nil // noggin has not used this number yet
		}
		version = min(max(n, 1), version)
	}
	return r.take(ctx, storage.FoundFile{Path: path.Join(r.stored.Folder, u.name), Kind: "attachment", AttachmentTip: tip, Version: version, LastVersion: version}, r.came[tip])
}

// take adds a file to the result, if it is there, not used, and has the SHA-256 that is
// known of it; without one, if its extension is that of its content. A file of several
// versions is one. isFormer says that the report of a former version lists it, or that other
// bytes came since.
func (r *recording) take(ctx context.Context, found storage.FoundFile, isFormer bool) error {
	if i, again := r.at[found.Path]; again {
		old := &r.found[i]
		if found.SHA256 != "" {
			old.Version, old.LastVersion = min(old.Version, found.Version), max(old.LastVersion, found.LastVersion)
		}
		return nil
	}
	if r.used[found.Path] {
		return nil
	}
	file, _, err := r.Output.Open(found.Path)
	if err != nil {
		return files.OwnFault(err)
	}
	defer files.Release(file)
	size, sum, err := r.Output.Digest(ctx, found.Path, file)
	if files.OfOneFile(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if found.SHA256 != "" && found.SHA256 != sum {
		r.Log.Warn("a file of a former version is not the one that its report lists; it is left as it is", "tip", r.stored.Tip, "path", found.Path)
		r.used[found.Path] = true // its name alone does not make it one
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
		case isFormer:
			found.ContentType = verdict.MIME
		}
		found.Sequence = parts.Number
	}
	if err := r.Output.FlushFile(found.Path, file); err != nil {
		return err
	}
	if err := r.files.Touch(); err != nil {
		return err
	}
	r.Log.Info("a file that the database did not know is recorded as a former one", "tip", r.stored.Tip, "attachment", found.AttachmentTip,
		"path", found.Path, "kind", found.Kind, "run_id", r.Run)
	found.RecordTip, found.Size, found.SHA256, found.Highest = r.stored.Tip, size, sum, r.highest
	r.at[found.Path] = len(r.found)
	r.found = append(r.found, found)
	return nil
}
