package copies

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/archive"
	"noggin/batch/batchtest"
	"noggin/batch/process"
	"noggin/storage"
)

// What was mirrored is known for ever, also when its file is lost and the platform changes
// the record before it comes again: a copy of it can come back.
func TestALostPhotographThatThePlatformChangedComesBack(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lose   func(t *testing.T, file string)
		failed bool // to come again, before the change
		change func(tip string) apitest.Edit
		last   string // version that had the bytes
	}{
		"missing, removed":          {missing, false, removed, "1"},
		"damaged, removed":          {damaged, false, removed, "1"},
		"missing, failed, removed":  {missing, true, removed, "1"},
		"missing, replaced":         {missing, false, replaced, "2"},
		"damaged, replaced":         {damaged, false, replaced, "2"},
		"missing, failed, replaced": {missing, true, replaced, "2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			w.API.MaxRetries = 0
			w.run()
			record := w.Server.Record(0)
			photograph := record.Attachments[0].Tip
			at, sum := w.Value(`SELECT file_path FROM noggin_schema.attachments WHERE attachment_tip = '`+photograph+`'`), w.Server.MediaSHA256(photograph)
			test.lose(t, filepath.Join(w.Output, at))
			queue := func() {
				var lost storage.LostFiles
				page, err := w.DB.RecordFiles(t.Context(), []string{record.Tip})
				batchtest.Must(t, err)
				lost.Tip, lost.Token, lost.Attachments = record.Tip, page[0].Token, []string{photograph}
				if n, err := w.DB.QueueLost(t.Context(), []storage.LostFiles{lost}); err != nil || n != 1 {
					t.Fatalf("%d records queued, %v", n, err)
				}
			}
			queue()
			if test.failed {
				w.Server.AddFault(apitest.Fault{Status: 503, On: apitest.OnMedia, Tips: []string{photograph}})
				w.MustRun(process.Options{UntilEmpty: true})
				w.Server.ClearFaults()
				w.MakeDue()
			}
			edit := test.change(photograph)
			w.Server.Edit(record.Tip, edit)
			if len(edit.Remove) > 0 {
				w.Server.AddFault(apitest.Fault{Status: 404, On: apitest.OnMedia, Tips: []string{photograph}})
			}
			if s := w.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 {
				t.Fatalf("summary %+v\n%s", s, w.Logged)
			}
			_ = os.Remove(filepath.Join(w.Output, at)) // a damaged one, as `noggin validate files` says
			if s, err := w.copier.Restore(t.Context(), RestoreOptions{}); err != nil || s.Files != 1 || s.Count != 0 {
				t.Errorf("%+v, %v\n%s", s, err, w.Logged)
			}
			if got, err := batchtest.HashFile(filepath.Join(w.Output, at)); got != sum {
				t.Errorf("%s has SHA-256 %q instead of %s, %v", at, got, sum, err)
			}
			for range 2 { // nothing else becomes of it later
				w.MustRun(process.Options{Selector: w.Only(0)})
			}
			if former := w.Value(`SELECT coalesce(string_agg(concat_ws(' ', kind, path, hash_sha256, first_version, last_version), ', '), '') FROM noggin_schema.former_files WHERE kind <> 'report'`); former != "attachment "+at+" "+sum+" 1 "+test.last {
				t.Errorf("former files: %s, want %s of versions 1 to %s", former, at, test.last)
			}
			db, err := sql.Open("postgres", w.URL)
			batchtest.Must(t, err)
			defer db.Close()
			if lost, err := batchtest.LostFiles(t.Context(), db, w.Output); err != nil || len(lost) > 0 {
				t.Errorf("lost: %q, %v", lost, err)
			}
		})
	}
}

// The platform has the former bytes no more: of them, nothing can be restored.
func TestAFileThatWasGivenUpWithItsArchiveIsNotMissed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	record := w.Server.Record(0)
	w.Server.Edit(record.Tip, replaced(record.Attachments[0].Tip))
	if s := w.MustRun(process.Options{Refresh: true, Media: true, UntilEmpty: true}); s.Changed != 1 {
		t.Fatalf("summary %+v\n%s", s, w.Logged)
	}
	archiver := &archive.Archiver{DB: w.DB, Paths: w.paths, ClaimLease: w.Processing.ClaimLease, Log: w.Log}
	made, err := archiver.Create(t.Context(), archive.CreateOptions{Before: "2026-01-01"})
	if err != nil || len(made.Archives) != 1 {
		t.Fatal(made, err)
	}
	batchtest.Must(t, os.Remove(made.Archives[0].Path))
	if lost, err := archiver.Lose(t.Context(), made.Archives[0].Name, "no disk"); err != nil || lost.Former == 0 {
		t.Fatalf("%+v, %v", lost, err)
	}
	if s := w.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 {
		t.Fatalf("summary %+v\n%s", s, w.Logged)
	}
	if s := w.run(); s.Copied != 3 || s.Count != 0 {
		t.Errorf("copied: %+v", s)
	}
	for where, opts := range map[string]RestoreOptions{"in place": {}, "elsewhere": {To: t.TempDir()}} {
		if s, err := w.copier.Restore(t.Context(), opts); err != nil || s.Files+s.AlreadyThere != 3 || s.Count != 0 {
			t.Errorf("%s: %+v, %v", where, s, err)
		}
	}
}

func missing(t *testing.T, file string) { batchtest.Must(t, os.Remove(file)) }

func damaged(t *testing.T, file string) {
	others, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*_002.jpg"))
	batchtest.Must(t, err)
	other, err := os.ReadFile(others[0])
	batchtest.Must(t, err, os.WriteFile(file, other, 0o666))
}

func removed(tip string) apitest.Edit { return apitest.Edit{Remove: []string{tip}} }

func replaced(tip string) apitest.Edit { return apitest.Edit{Replace: []string{tip}} }
