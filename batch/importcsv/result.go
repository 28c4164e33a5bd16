package importcsv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"noggin/batch/csvfile"
	"noggin/batch/files"
	"noggin/storage"
)

// Outcomes of a file.
const (
	fileImported    = "imported"    // read to its end; rows may be rejected
	fileUnusable    = "unusable"    // no row of it can be used
	fileWaiting     = "waiting"     // changed a moment ago; the next run reads it
	fileChanged     = "changed"     // changed while it was read; the next run reads it
	fileGone        = "gone"        // another run took it
	fileBusy        = "busy"        // another run reads it
	fileSkipped     = "skipped"     // not a regular file
	fileFailed      = "failed"      // cannot be read or moved
	fileInterrupted = "interrupted" // the next run reads it
)

// fileResult tells what became of one file.
type fileResult struct {
	File       string `json:"file"`        // its name in the input folder, or as the command line names it
	Kind       string `json:"kind"`        // tips, or a kind of names
	ObjectType string `json:"object_type"` // code; empty if it was not read
	Assumed    bool   `json:"assumed"`     // neither file nor option tells its form
	Rows       int64  `json:"rows"`
	storage.ImportCounts
	Rejected     int64  `json:"rejected"`
	Skipped      int64  `json:"skipped"` // rows that repeat the header
	Warnings     int64  `json:"warnings"`
	Outcome      string `json:"outcome"`
	Reason       string `json:"reason"`        // for any outcome but imported
	MovedTo      string `json:"moved_to"`      // empty: it stays
	RejectedFile string `json:"rejected_file"` // holds the rows that cannot be used

	read fs.FileInfo // of a file of the input folder, when it was read
}

// Summary tells what an import did: each file, and the sums.
type Summary struct {
	RunID  int64        `json:"run_id"`
	DryRun bool         `json:"dry_run"`
	Files  []fileResult `json:"files"` // the first [listedFiles]
	// FilesTotal counts all files that were looked at, and FilesLeft those that are left to
	// the next run, as this one took [takenFiles] or looked at [waitingFiles].
	FilesTotal int64 `json:"files_total"`
	FilesLeft  int64 `json:"files_left"`
	Rows       int64 `json:"rows"`
	storage.ImportCounts
	Rejected        int64   `json:"rejected"`
	Skipped         int64   `json:"skipped"` // rows
	Warnings        int64   `json:"warnings"`
	Unusable        int64   `json:"unusable"` // files
	Failed          int64   `json:"failed"`   // files
	Blocking        int64   `json:"blocking"` // links, folders and the like: no run takes them
	DurationSeconds float64 `json:"duration_seconds"`

	taken      []fileResult // files that were moved, or would be without a dry run
	firstFault string       // of the first file that failed
}

// A folder may hold any number of bad files. These bound what a run does about them, says,
// and records.
const (
	takenFiles   = 2_000   // that a run moves; the next run goes on
	listedFiles  = 100     // in the summary
	waitingFiles = 100_000 // of a folder that a run looks at, the oldest
	shownInRun   = 100     // odd rows that a run logs
)

// Fault says which file failed first, and why; nil when none did.
func (s *Summary) Fault() error {
	if s.firstFault == "" {
		return nil
	}
	return errors.New(s.firstFault)
}

func (s *Summary) add(f fileResult) {
	if s.FilesTotal++; len(s.Files) < listedFiles {
		s.Files = append(s.Files, f)
	}
	if f.MovedTo != "" || s.DryRun && (f.Outcome == fileImported || f.Outcome == fileUnusable) {
		s.taken = append(s.taken, f)
	}
	s.Rows += f.Rows
	s.Add(f.ImportCounts)
	s.Rejected += f.Rejected
	s.Skipped += f.Skipped
	s.Warnings += f.Warnings
	switch f.Outcome {
	case fileUnusable:
		s.Unusable++
	case fileSkipped:
		s.Blocking++
	case fileFailed:
		if s.Failed++; s.firstFault == "" {
			s.firstFault = fmt.Sprintf("import %s: %s", f.File, f.Reason)
		}
	}
}

func (f *fileResult) end(outcome, reason string) { f.Outcome, f.Reason = outcome, reason }

func (f *fileResult) fail(err error) { f.end(fileFailed, files.Cause(err).Error()) }

// settle writes into the result what err means for this one file. It returns err
// only if it ends the run, as an interruption or a database that is gone does.
func (f *fileResult) settle(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, csvfile.ErrUnusableFile):
		f.end(fileUnusable, err.Error())
		return nil
	case errors.Is(err, errBusy):
		f.end(fileBusy, errBusy.Error())
		return nil
	case errors.Is(err, errGone):
		f.Rejected = 0 // the other run counts them
		f.end(fileGone, errGone.Error())
		return nil
	case errors.Is(err, errChanged):
		f.Rejected = 0 // the next run counts them
		f.end(fileChanged, errChanged.Error()+": it stays for the next run")
		return nil
	case ctx.Err() != nil:
		f.end(fileInterrupted, "stopped in the middle: the next run takes it from the beginning")
		return err
	}
	f.fail(err)
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return nil // the fault of this file alone
	}
	return err
}
