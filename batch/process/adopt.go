package process

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"

	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/media"
	"noggin/batch/textreport"
	"noggin/storage"
)

// maxReportRead is the most that is read of a text report.
const maxReportRead = 16 << 20

// fileOnDisk is a file that may belong to an attachment: after a restore of the database,
// or when the replaced service downloaded it.
type fileOnDisk struct {
	path string // relative to the output folder
	sum  string // SHA-256 from the record's text report; "" without one
	// guessed says that only the name matches. Size or hash, as the replaced service
	// recorded them, must match too.
	guessed bool
}

// filesOnDisk returns the files that may belong to each attachment, by its tip, the most
// likely first. Every run tries what the replaced service recorded. A run with --adopt
// looks into the record's folder too. There the text report says which file belongs to
// which attachment. Without a report of noggin's, names decide, but only when the folder
// holds exactly the planned files: otherwise the numbers in the names may have shifted.
// The folder of another record is not used.
func (w *work) filesOnDisk(refs map[string]forms.AttachmentRef) (map[string][]fileOnDisk, error) {
	known := map[string][]fileOnDisk{}
	taken := false
	for i := range w.stored.Attachments {
		a := &w.stored.Attachments[i]
		if !a.NotLookedAt() {
			continue
		}
		taken = true
		if a.Path != nil {
			known[a.Tip] = append(known[a.Tip], fileOnDisk{path: *a.Path})
		}
		if a.Filename != nil {
			known[a.Tip] = append(known[a.Tip], fileOnDisk{path: path.Join(w.stored.Folder, path.Base(*a.Filename)), guessed: a.Path != nil})
		}
	}
	if len(w.stored.Attachments) == 0 || !taken && !w.run.opts.Adopt {
		return known, nil
	}
	entries, err := w.run.output.Entries(w.stored.Folder)
	if err != nil { // the folder does not exist yet
		return known, files.OwnFault(err)
	}
	switch tip, listed, err := w.readReport(w.stored.Folder, w.ownReport()); {
	case err != nil:
		return nil, err
	case tip == w.claim.Tip:
		for tip, file := range listed {
			known[tip] = append([]fileOnDisk{file}, known[tip]...)
		}
		return known, nil
	case tip != "":
		return known, nil
	}
	names, byName := make([]string, len(entries)), make(map[string]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
		byName[forms.Stem(names[i])] = names[i]
	}
	stems := make(map[string]string, len(w.stored.Attachments))
	for i := range w.stored.Attachments {
		a := &w.stored.Attachments[i]
		stem := forms.Stem(w.nameOf(a, refs[a.Tip], ""))
		stems[stem] = a.Tip
		if name, ok := byName[stem]; ok && a.NotLookedAt() { // a run that died moved it here
			known[a.Tip] = append(known[a.Tip], fileOnDisk{path: path.Join(w.stored.Folder, name), guessed: true})
		}
	}
	if w.run.opts.Adopt {
		for tip, name := range forms.ByStem(stems, names) {
			known[tip] = append(known[tip], fileOnDisk{path: path.Join(w.stored.Folder, name)})
		}
	}
	return known, nil
}

// ownReport is the name of the record's text report.
func (w *work) ownReport() string {
	return forms.ReportName(forms.RecordName(w.record.InspectionID, w.claim.Tip))
}

// readReport reads a text report: the tip of its record ("" when noggin wrote none), and the
// file of each attachment.
func (w *work) readReport(folder, name string) (tip string, found map[string]fileOnDisk, err error) {
	report, _, err := w.run.output.Open(path.Join(folder, name))
	if err != nil {
		return "", nil, files.OwnFault(err)
	}
	defer files.Release(report)
	tip, found = readReportFiles(io.LimitReader(report, maxReportRead), folder)
	return tip, found, nil
}

// foldersOnDisk sorts the folders that the record may get: the one that holds its text
// report first, one that holds another record's last.
func (w *work) foldersOnDisk(folders [3]string) [3]string {
	place := func(folder string) int {
		tip, _, err := w.readReport(folder, w.ownReport())
		switch {
		case err != nil, tip == "":
			return 1
		case tip == w.claim.Tip:
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

// adopt uses the first of the files that matches the attachment. It returns nil when the
// attachment must be downloaded.
func (w *work) adopt(a *storage.Attachment, ref forms.AttachmentRef, files []fileOnDisk) (*storage.Download, error) {
	for _, file := range files {
		if d, err := w.adoptOne(a, ref, file); d != nil || err != nil {
			return d, err
		}
	}
	return nil, nil
}

// adoptOne uses a file on disk for the attachment if its hash is the one in the record's
// text report. Without a report its content must be whole, and its size and hash those
// that the replaced service recorded. A file elsewhere is moved into the record's folder.
func (w *work) adoptOne(a *storage.Attachment, ref forms.AttachmentRef, file fileOnDisk) (*storage.Download, error) {
	if a.ArchiveID != nil || file.guessed && a.Size == nil && a.SHA256 == nil {
		return nil, nil
	}
	f, _, err := w.run.output.Open(file.path)
	if err != nil {
		return nil, files.OwnFault(err)
	}
	defer files.Release(f)
	size, sum, err := w.run.output.Digest(context.Background(), file.path, f)
	if err != nil {
		return nil, err
	}
	verdict, err := media.Judge(f, size, "")
	if err != nil {
		return nil, files.WrapDisk("read", file.path, err)
	}
	switch {
	case verdict.Page(ref.Document):
		w.run.log.Warn("a file on disk is the page of a server; the attachment is downloaded again", "tip", w.claim.Tip, "path", file.path)
		return nil, nil
	case a.Status == storage.AttachmentComplete && a.SHA256 != nil && *a.SHA256 != sum,
		a.NotLookedAt() && a.Size != nil && *a.Size != size,
		file.sum != "" && file.sum != sum,
		file.sum == "" && verdict.Status != storage.ValidationValid:
		w.run.log.Warn("a file on disk is not the one that was downloaded, or not whole; the attachment is downloaded again", "tip", w.claim.Tip, "path", file.path, "reason", verdict.Reason)
		return nil, nil
	case verdict.Status == storage.ValidationFailed:
		verdict.Status = storage.ValidationSuspect // an earlier run kept it: the platform has nothing better
	}
	if err := w.run.output.FlushFile(file.path, f); err != nil {
		return nil, err
	}
	kept := files.Kept{Path: file.path}
	if path.Dir(file.path) == w.stored.Folder {
		err = w.folder.Touch()
	} else {
		kept, err = w.folder.Move(file.path, size, sum, w.nameOf(a, ref, verdict.Ext), suffixOf(a.Tip))
		if err == nil && !kept.AlreadyThere {
			w.run.log.Info("moved a file of the replaced service into the folder of its record", "tip", w.claim.Tip, "from", file.path, "path", kept.Path)
		}
	}
	if errors.Is(err, files.ErrObstacle) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	w.run.fileDone(0)
	return &storage.Download{
		Status: storage.AttachmentComplete, Validation: verdict.Status, Filename: path.Base(kept.Path), Path: &kept.Path,
		Size: &size, SHA256: &sum, ContentType: &verdict.MIME,
	}, nil
}
