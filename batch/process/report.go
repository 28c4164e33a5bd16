package process

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"

	"noggin/batch/adopt"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/search"
	"noggin/batch/textreport"
	"noggin/storage"
)

// writeReport writes the text report, after the report of a former version got a name of
// its own.
func (w *work) writeReport(ctx context.Context) error {
	if err := w.keepUnknownReport(ctx); err != nil {
		return err
	}
	if err := w.keepFormerReport(ctx); err != nil {
		return err
	}
	w.result.Document = search.Document(w.form, w.record, w.stored)
	report, err := textreport.WriteFile(w.folder, w.form, w.record, w.stored)
	if err == nil {
		w.result.ReportPath, w.result.ReportSize, w.result.ReportHash = &report.Path, &report.Size, &report.SHA256
	}
	return err
}

// keepFormerReport copies the text report of a former version, so that the new one may
// take its place. A copy that a killed run made is used. A healer that died may have written
// the report anew without recording it: then what is on disk is kept.
func (w *work) keepFormerReport(ctx context.Context) error {
	m := w.stored.Marks
	if m.ReportPath == nil || m.ReportSHA256 == nil || m.ReportSize == nil || m.ReportShows == m.Version {
		return nil
	}
	former := storage.FormerFile{
		RecordTip: w.claim.Tip, FirstVersion: m.ReportShows, LastVersion: m.ReportShows,
		Size: *m.ReportSize, SHA256: *m.ReportSHA256,
	}
	if m.ReportStored { // it is only in an archive, under the name of the current one
		former.Path = w.formerReport(1)
		w.result.FormerReport = &former
		return nil
	}
	var err error
	if former.Path, err = w.copyReport(1, former.Size, former.SHA256); errors.Is(err, files.ErrDiffers) {
		size, sum, tip, ownErr := w.otherReport(ctx)
		if ownErr != nil {
			return ownErr
		}
		if sum != "" && tip == w.stored.Tip {
			w.run.log.Warn("the text report of the former version is not the recorded one; it is kept as it is", "tip", w.claim.Tip, "run_id", w.run.id, "error", err)
			former.Size, former.SHA256 = size, sum
			former.Path, err = w.copyReport(1, size, sum)
		}
	}
	if err != nil {
		return w.unkept(err)
	}
	w.result.FormerReport = &former
	return w.folder.Touch()
}

// keepUnknownReport copies a text report that is neither the recorded one nor the one that
// the record gets: with --adopt it may be of a version that a restored database does not
// know. Of a record that has no recorded one, it must name the record.
func (w *work) keepUnknownReport(ctx context.Context) error {
	m := w.stored.Marks
	recorded := m.ReportPath != nil || w.onDisk != nil && w.onDisk.HasReport()
	if !w.run.opts.Adopt || !recorded || m.ReportStored || w.result.ReportPath != nil {
		return nil
	}
	size, sum, _, err := w.otherReport(ctx)
	if err != nil || sum == "" {
		return err
	}
	kept, err := w.copyReport(2, size, sum) // the first name is that of the recorded one
	if err != nil {
		return w.unkept(err)
	}
	w.result.Found = append(w.result.Found, storage.FoundFile{
		Path: kept, RecordTip: w.claim.Tip, Kind: "report", Version: m.ReportShows, LastVersion: m.ReportShows, Size: size, SHA256: sum,
	})
	return w.folder.Touch()
}

// otherReport digests the text report that is on disk, and reads the tip of its record. sum
// is "" for none, for the recorded one and for the one that the record gets.
func (w *work) otherReport(ctx context.Context) (size int64, sum, tip string, err error) {
	at := textreport.Path(w.stored)
	report, _, err := w.run.output.Open(at)
	if err != nil {
		return 0, "", "", files.OwnFault(err) // copyReport tells any other fault
	}
	defer files.Release(report)
	tip, _ = textreport.ReadFiles(io.LimitReader(report, adopt.MaxReportRead))
	if _, err := report.Seek(0, io.SeekStart); err != nil {
		return 0, "", "", files.WrapDisk("read", at, err)
	}
	if size, sum, err = w.run.output.Digest(ctx, at, report); err != nil || sum == storage.ValueOf(w.stored.ReportSHA256) {
		return 0, "", "", err
	}
	if next, err := textreport.SHA256(w.form, w.record, w.stored); err != nil || sum == next {
		return 0, "", "", err
	}
	return size, sum, tip, nil
}

// formerReport is the nth path for a copy of the text report that is on disk.
func (w *work) formerReport(n int) string {
	at := textreport.Path(w.stored)
	return path.Join(path.Dir(at), forms.FormerReportName(path.Base(at), w.stored.ReportShows, n))
}

// copyReport copies the text report that is on disk, of that size and SHA-256, to the first
// path from the nth on that nothing else has, and returns the path. Other reports may be of
// a database that was lost, or in an archive. A copy that a killed run made is used.
func (w *work) copyReport(n int, size int64, sum string) (kept string, err error) {
	for ; n < 100; n++ {
		kept = w.formerReport(n)
		err = w.run.output.Verify(kept, size, sum)
		missing := errors.Is(err, files.ErrMissing)
		if errors.Is(err, files.ErrDiffers) || missing && slices.Contains(w.stored.Taken, path.Base(kept)) {
			continue
		}
		if missing {
			err = w.folder.CopyExactly(textreport.Path(w.stored), size, sum, path.Base(kept))
		}
		if !errors.Is(err, files.ErrObstacle) {
			break
		}
	}
	return kept, err
}

// unkept tells why copyReport failed when no report can be kept. It returns any other error.
func (w *work) unkept(err error) error {
	if !errors.Is(err, files.ErrMissing) && !errors.Is(err, files.ErrDiffers) && !errors.Is(err, files.ErrObstacle) {
		return err
	}
	w.run.log.Warn("the text report of the former version is not on disk as recorded; it cannot be kept", "tip", w.claim.Tip, "path", textreport.Path(w.stored),
		"run_id", w.run.id, "error", err)
	return nil
}
