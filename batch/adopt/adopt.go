package adopt

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"path"
	"slices"

	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/media"
	"noggin/batch/textreport"
	"noggin/storage"
)

// Finder finds, for one run, the files that are on disk already.
type Finder struct {
	DB     *storage.DB
	Output *files.Output
	Log    *slog.Logger
	Run    int64 // its id
	// All is --adopt: files of which the database knows nothing may be used as well.
	All bool
}

// Folder is the folder of one record, as it was when the work on the record began.
type Folder struct {
	*Finder
	stored     storage.Stored
	refs       map[string]forms.AttachmentRef // by the tips of attachments
	reportName string                         // of the record
	files      *files.Folder
	onDisk     map[string][]fileOnDisk // by the tips of attachments
	listed     map[string]fileOnDisk   // by the record's text report, as it was
	unknown    []unknownFile
	highest    int // number in the name of a file there
}

// Look looks into the folder of a record whose answer is stored. Files are moved to folder.
func (f *Finder) Look(stored storage.Stored, refs map[string]forms.AttachmentRef, folder *files.Folder) (*Folder, error) {
	d := &Folder{Finder: f, stored: stored, refs: refs, reportName: path.Base(textreport.Path(stored)), files: folder}
	if err := d.findOnDisk(); err != nil {
		return nil, err
	}
	return d, d.listUnknown()
}

// HasReport tells whether the record's text report was there: --adopt reads it.
func (d *Folder) HasReport() bool { return d.listed != nil }

// MaxReportRead is the most that is read of a text report.
const MaxReportRead = 16 << 20

// fileOnDisk is a file that may belong to an attachment: after a restore of the database,
// or when the replaced service downloaded it.
type fileOnDisk struct {
	path string // relative to the output folder
	sum  string // SHA-256 from the record's text report; "" without one
	// guessed says that only the name matches. Size or hash, as the replaced service
	// recorded them, must match too.
	guessed bool
}

// findOnDisk finds the files that may belong to each attachment, the most likely first.
// Every run tries what the replaced service recorded. A run with --adopt looks into the
// record's folder too. There the text report says which file belongs to which attachment.
// Without a report of noggin's, names decide, but only when the folder holds exactly the
// planned files: otherwise the numbers in the names may have shifted. The folder of another
// record is not used.
func (d *Folder) findOnDisk() error {
	known := map[string][]fileOnDisk{}
	d.onDisk = known
	taken := false
	for i := range d.stored.Attachments {
		a := &d.stored.Attachments[i]
		if !a.NotLookedAt() {
			continue
		}
		taken = true
		if a.Path != nil {
			known[a.Tip] = append(known[a.Tip], fileOnDisk{path: *a.Path})
		}
		if a.Filename != nil {
			known[a.Tip] = append(known[a.Tip], fileOnDisk{path: path.Join(d.stored.Folder, path.Base(*a.Filename)), guessed: a.Path != nil})
		}
	}
	if !taken && !d.All {
		return nil
	}
	entries, err := d.Output.Entries(d.stored.Folder)
	if err != nil { // the folder does not exist yet
		return files.OwnFault(err)
	}
	switch tip, listed, err := d.readReport(d.stored.Folder, d.reportName); {
	case err != nil:
		return err
	case tip == d.stored.Tip:
		d.listed = listed
		for tip, file := range listed {
			known[tip] = append([]fileOnDisk{file}, known[tip]...)
		}
		return nil
	case tip != "":
		return nil
	}
	names, byName := make([]string, len(entries)), make(map[string]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
		byName[forms.Stem(names[i])] = names[i]
	}
	stems := make(map[string]string, len(d.stored.Attachments))
	for i := range d.stored.Attachments {
		a := &d.stored.Attachments[i]
		stem := forms.Stem(d.nameOf(a, ""))
		stems[stem] = a.Tip
		if name, ok := byName[stem]; ok && a.NotLookedAt() { // a run that died moved it here
			known[a.Tip] = append(known[a.Tip], fileOnDisk{path: path.Join(d.stored.Folder, name), guessed: true})
		}
	}
	if d.All {
		for tip, name := range forms.ByStem(stems, names) {
			known[tip] = append(known[tip], fileOnDisk{path: path.Join(d.stored.Folder, name)})
		}
	}
	return nil
}

// nameOf returns the file name of an attachment.
func (d *Folder) nameOf(a *storage.Attachment, ext string) string {
	return forms.AttachmentNameIn(d.stored.Folder, d.stored.Tip, cmp.Or(d.refs[a.Tip].Stub, a.Field), a.Sequence, ext)
}

// readReport reads a text report: the tip of its record ("" when noggin wrote none), and the
// file of each attachment.
func (f *Finder) readReport(folder, name string) (tip string, found map[string]fileOnDisk, err error) {
	report, _, err := f.Output.Open(path.Join(folder, name))
	if err != nil {
		return "", nil, files.OwnFault(err)
	}
	defer files.Release(report)
	tip, found = readReportFiles(io.LimitReader(report, MaxReportRead), folder)
	return tip, found, nil
}

// SortFolders sorts the folders that a record may get: the one that holds its text report
// first, one that holds another record's last.
func (f *Finder) SortFolders(tip, inspectionID string, folders [3]string) [3]string {
	place := func(folder string) int {
		owner, _, err := f.readReport(folder, forms.ReportName(forms.RecordName(inspectionID, tip)))
		switch {
		case err != nil, owner == "":
			return 1
		case owner == tip:
			return 0
		}
		return 2
	}
	slices.SortStableFunc(folders[:], func(a, b string) int { return place(a) - place(b) })
	return folders
}

// readReportFiles reads from a text report the tip of its record ("" when it is none of
// noggin's) and the file of each attachment.
func readReportFiles(r io.Reader, folder string) (tip string, found map[string]fileOnDisk) {
	tip, listed := textreport.ReadFiles(r)
	found = make(map[string]fileOnDisk, len(listed))
	for _, file := range listed {
		if files.ValidName(file.Name) == nil {
			found[file.Tip] = fileOnDisk{path: path.Join(folder, file.Name), sum: file.SHA256}
		}
	}
	return tip, found
}

// Adopt uses the first file on disk that matches the attachment. It returns nil when the
// attachment must be downloaded.
func (d *Folder) Adopt(a *storage.Attachment) (*storage.Download, error) {
	for _, file := range d.onDisk[a.Tip] {
		if adopted, err := d.adoptOne(a, file); adopted != nil || err != nil {
			return adopted, err
		}
	}
	return nil, nil
}

// Recorded uses the file that is recorded of an attachment, if it is as recorded. It returns
// nil when it is not, or the page of a server.
func (d *Folder) Recorded(a *storage.Attachment) (*storage.Download, error) {
	return d.adoptOne(a, fileOnDisk{path: *a.Path, sum: *a.SHA256})
}

// adoptOne uses a file on disk for the attachment if its hash is the one in the record's
// text report. Without a report its content must be whole, and its size and hash those
// that the replaced service recorded. A file elsewhere is moved into the record's folder.
func (d *Folder) adoptOne(a *storage.Attachment, file fileOnDisk) (*storage.Download, error) {
	if a.ArchiveID != nil || file.guessed && a.Size == nil && a.SHA256 == nil {
		return nil, nil
	}
	f, _, err := d.Output.Open(file.path)
	if err != nil {
		return nil, files.OwnFault(err)
	}
	defer files.Release(f)
	size, sum, err := d.Output.Digest(context.Background(), file.path, f)
	if err != nil {
		return nil, files.OwnFault(err)
	}
	verdict, err := media.Judge(f, size, "")
	if err != nil {
		return nil, files.OwnFault(err)
	}
	switch {
	case verdict.Page(d.refs[a.Tip].Document):
		d.Log.Warn("a file on disk is the page of a server; the attachment is downloaded again", "tip", d.stored.Tip, "path", file.path)
		return nil, nil
	case a.SHA256 != nil && *a.SHA256 != sum,
		a.NotLookedAt() && a.Size != nil && *a.Size != size,
		file.sum != "" && file.sum != sum,
		file.sum == "" && verdict.Status != storage.ValidationValid:
		d.Log.Warn("a file on disk is not the one that was downloaded, or not whole; the attachment is downloaded again", "tip", d.stored.Tip, "path", file.path, "reason", verdict.Reason)
		return nil, nil
	case verdict.Status == storage.ValidationFailed:
		verdict.Status = storage.ValidationSuspect // an earlier run kept it: the platform has nothing better
	}
	if err := d.Output.FlushFile(file.path, f); err != nil {
		return nil, err
	}
	kept := files.Kept{Path: file.path}
	if path.Dir(file.path) == d.stored.Folder {
		err = d.files.Touch()
	} else {
		kept, err = d.files.Move(file.path, size, sum, d.nameOf(a, verdict.Ext), forms.TipSuffix(a.Tip))
		if err == nil && !kept.AlreadyThere {
			d.Log.Info("moved a file of the replaced service into the folder of its record", "tip", d.stored.Tip, "from", file.path, "path", kept.Path)
		}
	}
	if errors.Is(err, files.ErrObstacle) || errors.Is(err, files.ErrMissing) { // another attachment of this path took it
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &storage.Download{
		Status: storage.AttachmentComplete, Validation: verdict.Status, Filename: path.Base(kept.Path), Path: &kept.Path,
		Size: &size, SHA256: &sum, ContentType: &verdict.MIME,
	}, nil
}
