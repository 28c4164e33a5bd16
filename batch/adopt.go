package batch

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"noggin/storage"
)

// maxReportRead bounds what is read of a text report to learn about files.
const maxReportRead = 16 << 20

// fileOnDisk is a file that may be an attachment's: the database was restored, or
// another service had downloaded it.
type fileOnDisk struct {
	path string // relative to the output folder
	sum  string // SHA-256 by the record's own report; "" where there is none
	// guessed: only its name speaks for it; what the replaced service knew of the
	// attachment has to agree.
	guessed bool
}

// filesOnDisk tells which files may be which attachment's, by its tip, best first.
// What the replaced service recorded is tried in every run. One that adopts looks
// into the record's folder too. The record's text report says which file is whose.
// Where noggin never wrote one, names decide, but only when the folder holds exactly
// the files that are planned: where one is missing or too many, the numbers in the
// names may mean others. A folder that is another record's says nothing.
func (w *work) filesOnDisk(refs map[string]AttachmentRef) (map[string][]fileOnDisk, error) {
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
	if len(w.stored.Attachments) == 0 || !taken && !w.opts.Adopt {
		return known, nil
	}
	entries, err := w.output.Entries(w.stored.Folder)
	if err != nil { // it is not there yet
		return known, ownFault(err)
	}
	switch tip, listed, err := w.reportIn(w.stored.Folder); {
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
		byName[stemOf(names[i])] = names[i]
	}
	stems := make(map[string]string, len(w.stored.Attachments))
	for i := range w.stored.Attachments {
		a := &w.stored.Attachments[i]
		stem := stemOf(w.nameOf(a, refs[a.Tip], ""))
		stems[stem] = a.Tip
		if name, ok := byName[stem]; ok && a.NotLookedAt() { // moved here by a run that died
			known[a.Tip] = append(known[a.Tip], fileOnDisk{path: path.Join(w.stored.Folder, name), guessed: true})
		}
	}
	if w.opts.Adopt {
		for tip, name := range byStem(stems, names) {
			known[tip] = append(known[tip], fileOnDisk{path: path.Join(w.stored.Folder, name)})
		}
	}
	return known, nil
}

// reportIn reads the text report that is in a folder: whose it is, "" where there is
// none of noggin's, and which file is which attachment's.
func (w *work) reportIn(folder string) (tip string, files map[string]fileOnDisk, err error) {
	report, _, err := w.output.Open(path.Join(folder, ReportName(RecordName(w.record.InspectionID, w.claim.Tip))))
	if err != nil {
		return "", nil, ownFault(err)
	}
	defer release(report)
	tip, files = readReportFiles(io.LimitReader(report, maxReportRead), folder)
	return tip, files, nil
}

// foldersOnDisk puts the folder that was the record's before first, for a run that
// adopts, and one that was another's last.
func (w *work) foldersOnDisk(folders [3]string) [3]string {
	place := func(folder string) int {
		tip, _, err := w.reportIn(folder)
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

func stemOf(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }

var numberedStem = regexp.MustCompile(`_[0-9]{3,}$`)

// byStem gives each stem's tip its file, or nothing unless the numberedStem files are
// one for each stem.
func byStem(stems map[string]string, names []string) map[string]string {
	found := map[string]string{}
	for _, name := range names {
		stem := stemOf(name)
		if !numberedStem.MatchString(stem) {
			continue
		}
		tip, planned := stems[stem]
		if _, twice := found[tip]; !planned || twice {
			return nil
		}
		found[tip] = name
	}
	if len(found) != len(stems) {
		return nil
	}
	return found
}

var (
	reportTip  = regexp.MustCompile(`^Tip: +([A-Za-z0-9_-]{1,64})$`)
	reportFile = regexp.MustCompile(`^ [0-9]{3,}  (.*?[^ ]) {2,}[0-9,]+  [a-z]`)
	reportHash = regexp.MustCompile(`^ {6}SHA-256 ([0-9a-f]{64})$`)
	reportKey  = regexp.MustCompile(`^ {6}tip     ([A-Za-z0-9_-]{1,64})$`)
)

// readReportFiles reads from a text report whose it is ("" when it is none of
// noggin's) and which file is which attachment's.
func readReportFiles(r io.Reader, folder string) (tip string, files map[string]fileOnDisk) {
	files = map[string]fileOnDisk{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	var name, sum string
	for lines.Scan() {
		line := lines.Text()
		if m := reportFile.FindStringSubmatch(line); m != nil {
			name, sum = m[1], ""
		} else if m := reportHash.FindStringSubmatch(line); m != nil {
			sum = m[1]
		} else if m := reportKey.FindStringSubmatch(line); m != nil && name != "" && sum != "" && validName(name) == nil {
			files[m[1]] = fileOnDisk{path: path.Join(folder, name), sum: sum}
			name, sum = "", ""
		} else if m := reportTip.FindStringSubmatch(line); m != nil {
			tip = m[1]
		}
	}
	return tip, files
}

// adopt takes the first of the files that is what is known of the attachment. It
// returns nil where it has to be downloaded.
func (w *work) adopt(a *storage.Attachment, ref AttachmentRef, files []fileOnDisk) (*storage.Download, error) {
	for _, file := range files {
		if d, err := w.adoptOne(a, ref, file); d != nil || err != nil {
			return d, err
		}
	}
	return nil, nil
}

// adoptOne takes a file that is already on disk for the attachment, if it is what the
// record's report says or, without one, whole by its content and of the size and hash
// that the replaced service knew. A file that lies elsewhere is moved into the record's
// folder.
func (w *work) adoptOne(a *storage.Attachment, ref AttachmentRef, file fileOnDisk) (*storage.Download, error) {
	if a.ArchiveID != nil || file.guessed && a.Size == nil && a.SHA256 == nil {
		return nil, nil
	}
	f, _, err := w.output.Open(file.path)
	if err != nil {
		return nil, ownFault(err)
	}
	defer release(f)
	hash := sha256.New()
	var check mediaCheck
	size, err := io.Copy(io.MultiWriter(hash, &check), f)
	if err != nil {
		return nil, w.output.fail("read", file.path, err)
	}
	sum, verdict := hex.EncodeToString(hash.Sum(nil)), check.Verdict("")
	switch {
	case a.Status == "complete" && a.SHA256 != nil && *a.SHA256 != sum, // it is known to have been another
		a.NotLookedAt() && a.Size != nil && *a.Size != size,
		file.sum != "" && file.sum != sum,
		file.sum == "" && verdict.Status != validationValid:
		w.Log.Warn("a file on disk is not what was downloaded once, or not whole; it is fetched again", "tip", w.claim.Tip, "path", file.path, "reason", verdict.Reason)
		return nil, nil
	case verdict.Status == validationFailed:
		verdict.Status = validationSuspect // kept once because the platform has nothing better
	}
	if err := f.Sync(); err != nil {
		return nil, w.output.fail("flush", file.path, err)
	}
	kept := Kept{Path: file.path}
	if path.Dir(file.path) == w.stored.Folder {
		_, err = w.folder.open() // so that it is flushed
	} else {
		kept, err = w.folder.Move(file.path, size, sum, w.nameOf(a, ref, verdict.Ext), suffixOf(a.Tip))
		if err == nil && !kept.AlreadyThere {
			w.Log.Info("a file of the replaced service was moved into its record's folder", "tip", w.claim.Tip, "from", file.path, "path", kept.Path)
		}
	}
	if errors.Is(err, ErrObstacle) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	w.progress.attachments.Add(1)
	return &storage.Download{
		Status: "complete", Validation: verdict.Status, Filename: path.Base(kept.Path), Path: &kept.Path,
		Size: &size, SHA256: &sum, ContentType: &verdict.MIME,
	}, nil
}
