package export

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"noggin/batch/archive/shelf"
	"noggin/batch/bag"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/storage"
)

// Exporter writes records into a bag.
type Exporter struct {
	DB       *storage.DB
	Types    *forms.ObjectTypes
	Paths    files.Paths
	Location *time.Location
	Version  string // of noggin
	Log      *slog.Logger
	Progress func(Progress)
	// Proofs adds files to the bag that prove when its records were mirrored; nil: none.
	// entries hands over the records, file writes a file of the bag.
	Proofs func(ctx context.Context, entries func(fn func(Entry) error) error, file func(name string, write func(io.Writer) error) error) error

	// For tests.
	pageRows int    // of every list; 0: as many as fit
	atPause  func() // in place of a pause
}

// Options say what an export takes, and where to.
type Options struct {
	Target    string // a folder, or a file whose name ends with .zip
	Selector  storage.Selector
	Selection string // the selector in words
	NoPhotos  bool   // without attachments and their thumbnails
	Payload   bool   // with the answers as the platform gave them
}

// Progress says how far an export is.
type Progress struct {
	Done, Total int // records
	Bytes       int64
	Note        string
}

// Summary is what an export did.
type Summary struct {
	Target       string   `json:"target"`
	Selected     int      `json:"selected"`   // records with an answer
	Unanswered   int      `json:"unanswered"` // records that were selected and have no answer yet
	Gone         int      `json:"gone"`       // records that were selected and then deleted from the database
	Records      int      `json:"records"`    // in the bag
	Resumed      int      `json:"resumed"`    // of these were there from an earlier run
	Files        int64    `json:"files"`      // of records
	Bytes        int64    `json:"bytes"`
	ProblemCount int      `json:"problem_count"` // what is not in the bag and should be
	Problems     []string `json:"problems"`      // the first 20
}

const mostProblems = 20

// run is one export.
type run struct {
	*Exporter
	Options
	target     string // absolute
	zipped     bool
	top        *os.Root // the bag's folder; nil for a ZIP
	scratch    *os.Root
	scratchDir string
	lock       *os.File
	journal    *os.File
	manifest   *os.File
	bag        *bag.Builder
	output     *files.Output
	shelf      *shelf.Shelf
	thumbnails *thumbnails
	resumed    bool // an earlier run was killed here
	kept       int  // number of the last record that is in the bag already
	summary    Summary
}

// Export writes the selected records into a bag. A folder whose export was killed is
// continued. The summary is right also when Export returns an error.
func (x *Exporter) Export(ctx context.Context, opts Options) (Summary, error) {
	r := &run{Exporter: x, Options: opts, thumbnails: newThumbnails(), shelf: &shelf.Shelf{DB: x.DB, Paths: x.Paths}}
	r.summary.Problems = []string{}
	done := false
	defer func() { r.closeScratch(done) }()
	defer r.shelf.Close()
	if err := r.openScratch(); err != nil {
		return r.summary, err
	}
	r.summary.Target = r.target
	var err error
	if r.output, err = files.OpenOutput(x.Paths.Output); err != nil {
		return r.summary, err
	}
	defer files.Release(r.output)
	if err := r.sameOptions(); err != nil {
		return r.summary, err
	}
	if r.manifest, err = r.scratch.OpenFile(manifestFile, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o644); err != nil {
		return r.summary, err
	}
	if r.zipped {
		err = r.toZip(ctx)
	} else {
		r.bag = bag.NewFolder(r.top, r.manifest)
		err = r.do(ctx)
	}
	done = err == nil
	return r.summary, err
}

// toZip writes the ZIP, which gets its name once it is whole.
func (r *run) toZip(ctx context.Context) (err error) {
	if r.resumed { // what an export left that was killed: this one has its lock
		if err := os.Remove(r.target + files.PartialExt); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	file, err := files.CreatePartial(r.target, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		files.Release(file)
		if err != nil {
			_ = os.Remove(r.target + files.PartialExt) // if it stays, the next export removes it
		}
	}()
	w := zip.NewWriter(file)
	base := plainName(strings.TrimSuffix(filepath.Base(r.target), filepath.Ext(r.target)), "export")
	r.bag = bag.NewZip(w, base, time.Now(), r.manifest)
	if err := r.do(ctx); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return files.WrapDisk("write", r.target, err)
	}
	if err := files.FlushPartial(r.target, file); err != nil {
		return err
	}
	return files.NamePartial(r.target)
}

func (r *run) do(ctx context.Context) error {
	if err := r.choose(ctx); err != nil {
		return err
	}
	if err := r.openJournal(ctx); err != nil {
		return err
	}
	if err := r.records(ctx); err != nil {
		return err
	}
	r.summary.Gone = r.summary.Selected - r.summary.Records
	r.Progress(Progress{Done: r.summary.Records, Total: r.summary.Selected, Bytes: r.summary.Bytes, Note: "writing the lists"})
	if err := errors.Join(r.writeLists(r.view()), r.writePrint(r.view())); err != nil {
		return err
	}
	_, _, err := r.bag.File("data/records.jsonl", func(w io.Writer) error {
		journal, err := r.scratch.Open(journalFile)
		if err != nil {
			return err
		}
		defer files.Release(journal)
		_, err = io.Copy(w, journal)
		return err
	})
	if err != nil {
		return err
	}
	if r.Proofs != nil {
		err := r.Proofs(ctx, r.eachEntry, func(name string, write func(io.Writer) error) error {
			_, _, err := r.bag.File(name, write)
			return err
		})
		if err != nil {
			return err
		}
	}
	photographs := "yes"
	if r.NoPhotos {
		photographs = "no"
	}
	return r.bag.Finish([]bag.Field{
		{Label: "Bagging-Date", Value: r.now().Format(time.DateOnly)},
		{Label: "Bag-Software-Agent", Value: "noggin " + r.Version},
		{Label: "External-Description", Value: "Inspection records, mirrored from the Noggin platform. Selection: " + oneLine(r.Selection)},
		{Label: "Noggin-Records", Value: strconv.Itoa(r.summary.Records)},
		{Label: "Noggin-Photographs", Value: photographs}, // the check of proofs asks for it
		{Label: "Noggin-Missing", Value: strconv.Itoa(r.summary.ProblemCount)},
	})
}

func (r *run) now() time.Time { return time.Now().In(r.Location) }

// view is what the lists say of the export.
func (r *run) view() pageView {
	missing := ""
	if r.summary.ProblemCount > 0 {
		missing = fmt.Sprintf(" %s missing: the inspections say which.", filesAre(r.summary.ProblemCount))
	}
	return pageView{
		Title: "Inspections", Print: r.printed(),
		Note: fmt.Sprintf("%s. Selection: %s.%s", inspections(r.summary.Records), oneLine(r.Selection), missing),
		Footer: fmt.Sprintf("Exported by noggin %s on %s. This folder is a BagIt bag: in it, `sha256sum -c manifest-sha256.txt` shows whether every file is as it was exported.",
			r.Version, r.now().Format("2 January 2006 at 15:04 MST")),
	}
}

func inspections(n int) string {
	if n == 1 {
		return "1 inspection"
	}
	return grouped(int64(n)) + " inspections"
}

func filesAre(n int) string {
	if n == 1 {
		return "1 file is"
	}
	return grouped(int64(n)) + " files are"
}
