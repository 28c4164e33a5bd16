package importcsv

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/storage"
)

// inbox is an importer with an input folder and a database of its own.
type inbox struct {
	*Importer
	t   testing.TB
	url string
}

func newInbox(t testing.TB) *inbox {
	t.Helper()
	cfg := storage.DefaultConfig()
	cfg.URL = batchtest.Database(t)
	db := batchtest.InitDatabase(t, cfg, "import-csv")
	config := DefaultConfig()
	config.Settle = 0
	return &inbox{t: t, url: cfg.URL, Importer: &Importer{DB: db, Config: config, Paths: files.Paths{Input: t.TempDir()}.Resolved(), Types: testOptions(t).Forms, Log: slog.New(slog.DiscardHandler)}}
}

// sharing is another input folder over the same database.
func (b *inbox) sharing(t testing.TB) *inbox {
	t.Helper()
	importer := *b.Importer
	importer.Progress = nil
	importer.Paths = files.Paths{Input: t.TempDir()}.Resolved()
	return &inbox{t: t, url: b.url, Importer: &importer}
}

func (b *inbox) path(name string) string { return filepath.Join(b.Paths.Input, name) }

// put writes a file that has been left alone for a while.
func (b *inbox) put(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(b.path(name), long, long); err != nil {
		b.t.Fatal(err)
	}
}

func (b *inbox) run(opts Options) Summary {
	b.t.Helper()
	summary, err := b.Run(b.t.Context(), opts)
	if err != nil {
		b.t.Fatal(err)
	}
	return summary
}

// tree lists all files below the input folder.
func (b *inbox) tree() []string {
	b.t.Helper()
	files := []string{}
	err := filepath.WalkDir(b.Paths.Input, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			path, err = filepath.Rel(b.Paths.Input, path)
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return files
}

func (b *inbox) wantTree(want ...string) {
	b.t.Helper()
	slices.Sort(want)
	got := b.tree()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		b.t.Errorf("there are %q, want %q", got, want)
	}
}

func (b *inbox) read(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(b.path(name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

func (b *inbox) records() int {
	b.t.Helper()
	db, err := sql.Open("postgres", b.url)
	if err != nil {
		b.t.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRow(`SELECT count(*) FROM noggin_schema.noggin_data`).Scan(&n); err != nil {
		b.t.Fatal(err)
	}
	return n
}

// outcomes writes the files of a summary in short.
func outcomes(s Summary) string {
	var parts []string
	for _, f := range s.Files {
		parts = append(parts, fmt.Sprintf("%s %s %s rows=%d new=%d known=%d rejected=%d", f.File, f.Outcome, f.ObjectType, f.Rows, f.New, f.Known, f.Rejected))
	}
	return strings.Join(parts, "\n")
}

func TestImportTakesTheInputFolderOldestFirst(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	b.put("b.CSV", "tip\n"+tipA+"\n")
	b.put("a.csv", "TIP,soInspectionId,siteObservationId\n"+tipA+",,SO - 1\n"+tipB+",,SO - 2\n")
	b.put(".hidden.csv", "tip\n"+tipC+"\n")
	b.put("notes.txt", "tip\n"+tipC+"\n")
	older := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(b.path("b.CSV"), older, older); err != nil {
		t.Fatal(err)
	}
	var flushed []string // after each move: the new name, and then that the old one is gone
	stop := files.WatchFlushes(b.Paths.Input, func(_, path string) {
		moved, _ := filepath.Glob(b.path("processed/*"))
		path, _ = filepath.Rel(b.Paths.Input, path)
		flushed = append(flushed, fmt.Sprintf("%s with %d moved", path, len(moved)))
	})
	summary := b.run(Options{})
	stop()
	if want := []string{"processed with 1 moved", ". with 1 moved", "processed with 2 moved", ". with 2 moved"}; !slices.Equal(flushed, want) {
		t.Errorf("flushed are %q, want %q", flushed, want)
	}
	if got, want := outcomes(summary), "b.CSV imported LCD rows=1 new=1 known=0 rejected=0\na.csv imported SO rows=2 new=1 known=1 rejected=0"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if !summary.Files[0].Assumed || summary.Files[1].Assumed || summary.Corrected != 1 {
		t.Errorf("%+v", summary)
	}
	b.wantTree(".hidden.csv", "notes.txt", "processed/b.CSV", "processed/a.csv")
}

func TestMovedFilesReplaceNothing(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	for i := range 3 {
		b.put("tips.csv", fmt.Sprintf("tip\n%064x\n", i))
		b.run(Options{})
		b.put("bad.csv", fmt.Sprintf("vehicle,team\n%d,2\n", i))
		b.run(Options{})
	}
	b.wantTree("processed/tips.csv", "processed/tips-2.csv", "processed/tips-3.csv",
		"error/bad.csv", "error/bad-2.csv", "error/bad-3.csv",
		"error/bad.csv.reason.txt", "error/bad-2.csv.reason.txt", "error/bad-3.csv.reason.txt")
	if got := b.read("processed/tips-2.csv"); got != fmt.Sprintf("tip\n%064x\n", 1) {
		t.Errorf("tips-2.csv holds %q", got)
	}
}

func TestUnusableFilesGoToErrorWithTheReasonBeside(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	tests := map[string]struct{ text, reason string }{
		"binary.csv":     {"\x7fELF\x02\x01\x01\x00\x00\x00\n\x00\x00", "NUL bytes"},
		"workbook.csv":   {"PK\x03\x04" + strings.Repeat("\x00z", 500), "workbook"},
		"empty.csv":      {"", "it is empty"},
		"no rows.csv":    {"tip,lcdInspectionId\r\n\r\n", "it has no rows"},
		"misnamed.csv":   {"tipp,lcdInspectionId\n" + tipA + ",LCD - 1\n", "no column is headed tip"},
		"10 MB line.csv": {strings.Repeat("x", 10<<20), "longer than 1048576 bytes"},
		"unbalanced.csv": {"\"tip,lcdInspectionId\n" + tipA + ",LCD - 1\n", "quote"},
		"two forms.csv":  {"tip,lcdInspectionId,siteObservationId\n" + tipA + ",1,2\n", "two forms"},
		"bad rows.csv":   {"tip\n!\n?\n", "none of its 2 rows can be, the first being line 2"},
	}
	for name, test := range tests {
		b.put(name, test.text)
	}
	b.put("good.csv", "tip\n"+tipC+"\n")
	summary := b.run(Options{})
	if int(summary.Unusable) != len(tests) || summary.New != 1 {
		t.Errorf("the good file beside them: %s", outcomes(summary))
	}
	for _, f := range summary.Files {
		test, ok := tests[f.File]
		if !ok {
			continue
		}
		if f.Outcome != fileUnusable || !strings.Contains(f.Reason, test.reason) || f.MovedTo != b.path("error/"+f.File) {
			t.Errorf("%+v", f)
		}
		if got := b.read("error/" + f.File + ".reason.txt"); !strings.Contains(got, test.reason) {
			t.Errorf("%s: the reason is %q", f.File, got)
		}
		if b.read("error/"+f.File) != test.text {
			t.Errorf("%s was changed", f.File)
		}
	}
}

func TestRejectedRowsAreKeptAndTheOthersImported(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	text := "tip,lcdInspectionId\n" + tipA + ",LCD - 1\n=cmd|' /C calc'!A1,LCD - 2\n" + "a\x00b,LCD - 3\n" +
		strings.Repeat("y", 10<<20) + "\n\"" + tipB + ",LCD - 4\n" + tipC + ",LCD - 5\n"
	b.put("tips.csv", text)
	summary := b.run(Options{})
	if got, want := outcomes(summary), "tips.csv imported LCD rows=6 new=2 known=0 rejected=4"; got != want {
		t.Fatalf("%s\nwant %s", got, want)
	}
	if got := summary.Files[0].RejectedFile; got != b.path("error/tips.csv.rejected.csv") {
		t.Errorf("rejected rows are in %s", got)
	}
	b.wantTree("processed/tips.csv", "error/tips.csv.rejected.csv")
	for i, line := range strings.SplitN(b.read("error/tips.csv.rejected.csv"), "\n", 5) {
		if want := []string{"line,reason,row", "3,", "4,it holds NUL bytes,", "5,the line is longer", "6,"}[i]; !strings.HasPrefix(line, want) {
			t.Errorf("line %d of the rejected rows: %.80q, want %s…", i+1, line, want)
		}
	}
	if got := b.read("error/tips.csv.rejected.csv"); !strings.Contains(got, `,"'=cmd|`) {
		t.Errorf("a formula is not guarded: %.200s", got)
	}
	// Another day's file of the same name: what it rejects replaces nothing.
	b.put("tips.csv", "tip\n"+tipA+"\n?\n")
	if got := b.run(Options{}).Files[0].RejectedFile; got != b.path("error/tips.csv.rejected-2.csv") {
		t.Errorf("rejected rows are in %s", got)
	}
}

func TestARowWithAnotherIDForAKnownTipIsTold(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	var logged bytes.Buffer
	b.Log = slog.New(slog.NewTextHandler(&logged, nil))
	told := func(file, text string, known, others int64, lines ...string) {
		t.Helper()
		logged.Reset()
		b.put(file, "tip,lcdInspectionId\n"+text)
		s := b.run(Options{})
		if f := s.Files[0]; f.Outcome != "imported" || f.Rejected != 0 || f.Known != known || f.OtherID != others || f.Warnings != others {
			t.Errorf("%+v", f)
		}
		for _, line := range lines {
			if !strings.Contains(logged.String(), line) {
				t.Errorf("%q is not in\n%s", line, &logged)
			}
		}
		if n := strings.Count(logged.String(), "earlier row"); n != len(lines) {
			t.Errorf("%d warnings, want %d\n%s", n, len(lines), &logged)
		}
	}
	told("first.csv", tipA+",LCD - 1\n"+tipB+",LCD - 2\n"+tipA+",LCD - 3\n"+tipA+",LCD-1\n"+tipA+",\n", 3, 1, "file=first.csv line=4 tip="+tipA)
	told("later.csv", tipB+",LCD - 9\n"+tipA+",LCD - 1\n"+tipC+",LCD - 5\n", 2, 1, "file=later.csv line=2 tip="+tipB)
	told("same.csv", tipB+",LCD - 2\n"+tipC+",\n", 2, 0)
}

func TestWhatAKilledRunLeftIsImportedAgainWithoutHarm(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	b.put("bad.csv", "vehicle,team\n")
	b.put("tips.csv", "tip\n"+tipA+"\n?\n"+tipB+"\n")
	// Named, the file is imported and stays: as when a run is killed before it moves
	// it, with the rejected rows written.
	b.run(Options{Files: []string{b.path("tips.csv")}})
	if err := os.WriteFile(b.path("error/bad.csv.reason.txt"), []byte("bad.csv: the file cannot be used: no column is headed tip or nogginId (a blank first heading counts only beside the inspection id of a form); its header begins \"vehicle,team\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	summary := b.run(Options{})
	if got, want := outcomes(summary), "bad.csv unusable  rows=0 new=0 known=0 rejected=0\ntips.csv imported LCD rows=3 new=0 known=2 rejected=1"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	b.wantTree("processed/tips.csv", "error/tips.csv.rejected.csv", "error/bad.csv", "error/bad.csv.reason.txt")
	if n := b.records(); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}

func TestFilesBeingWrittenWait(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	b.Config.Settle = time.Minute
	b.put("fresh.csv", "tip\n"+tipA+"\n")
	b.put("old.csv", "tip\n"+tipB+"\n")
	if err := os.Chtimes(b.path("fresh.csv"), time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	summary := b.run(Options{})
	if got, want := outcomes(summary), "old.csv imported LCD rows=1 new=1 known=0 rejected=0\nfresh.csv waiting  rows=0 new=0 known=0 rejected=0"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if !strings.Contains(summary.Files[1].Reason, "the next run takes it") {
		t.Errorf("%+v", summary.Files[1])
	}
	b.wantTree("fresh.csv", "processed/old.csv")
}

func TestAFileWithoutAFinalLineEndWaitsLonger(t *testing.T) {
	t.Parallel()
	shared := newInbox(t)
	ends := map[string]bool{
		"tip\n" + tipA + "\n": true, "tip\r" + tipA + "\r": true, "\xff\xfet\x00\n\x00": true, "\xfe\xff\x00t\x00\n": true,
		"tip\n" + tipA: false, "tip\n" + tipA + "\n" + tipB[:40]: false, "": false, "\xff\xfet\x00": false,
	}
	for text, ended := range ends {
		for age, imported := range map[time.Duration]bool{2 * time.Minute: ended, 11 * time.Minute: true} {
			b := shared.sharing(t)
			b.Config.Settle = time.Minute
			b.put("tips.csv", text)
			if err := os.Chtimes(b.path("tips.csv"), time.Now(), time.Now().Add(-age)); err != nil {
				t.Fatal(err)
			}
			got := b.run(Options{}).Files[0]
			if (got.Outcome != fileWaiting) != imported || !imported && !strings.Contains(got.Reason, "10 × [import] settle (10m0s)") {
				t.Errorf("%q, %s old: %+v", text, age, got)
			}
			if want := !ended && got.Outcome == fileImported; (got.Warnings > 0) != want {
				t.Errorf("%q: %d warnings", text, got.Warnings)
			}
		}
	}
	// A tip that is torn is no tip.
	if n := shared.records(); n != 1 {
		t.Errorf("%d records, want that of the one whole tip", n)
	}
}

func TestWhatGrowsAfterTheMoveIsImportedToo(t *testing.T) {
	t.Parallel()
	for name, full := range map[string]bool{"a run that takes all files": false, "a run that leaves files to the next": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newInbox(t)
			b.put("a.csv", "tip\n"+tipA+"\n"+tipB[:40])
			b.put("b.csv", "tip\n"+tipC+"\n")
			if full {
				b.takes = 2
				b.put("c.csv", "tip\n"+tipC+"\n")
			}
			upload, err := os.OpenFile(b.path("a.csv"), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer files.Release(upload)
			b.Progress = func(p Progress) {
				if p.File == "b.csv" { // a.csv was moved
					if _, err := upload.WriteString(tipB[40:] + "\n"); err != nil {
						t.Error(err)
					}
					b.Progress = nil
				}
			}
			summary := b.run(Options{ObjectType: "SO"})
			want := "a.csv imported SO rows=2 new=1 known=0 rejected=1\nb.csv imported SO rows=1 new=1 known=0 rejected=0\n" +
				b.path("processed/a.csv") + " imported SO rows=2 new=1 known=1 rejected=0"
			if got := outcomes(summary); got != want || b.records() != 3 {
				t.Errorf("%s\nwant\n%s", got, want)
			}
		})
	}
}

// A run that is killed between the two steps imports the file again, and rejects its rows again.
func TestRejectedRowsAreKeptBeforeTheirFileMoves(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	b.put("a.csv", "tip\n"+tipA+"\nno tip\n")
	b.Imported = func(context.Context, string, string) error {
		staged, err := filepath.Glob(b.path("error/.noggin-*.part"))
		if err != nil || len(staged) != 1 {
			t.Errorf("%q, %v", staged, err)
			return err
		}
		return os.Remove(staged[0]) // it cannot get its name
	}
	if _, err := b.Run(t.Context(), Options{}); err == nil {
		t.Error("the rejected rows are lost, and the run ended well")
	}
	b.wantTree("a.csv")
	b.Imported = nil
	t.Run("on a full volume", func(t *testing.T) {
		volume := batchtest.Tmpfs(t, "size=64k")
		ballast := filepath.Join(volume, "ballast")
		batchtest.Must(t, os.WriteFile(ballast, make([]byte, 64<<10), 0o600))
		b.Paths.Error = volume
		if s, err := b.Run(t.Context(), Options{}); !errors.Is(err, unix.ENOSPC) || s.Failed != 1 {
			t.Fatalf("the list of rejected rows is cut: %+v, %v", s.Files, err)
		}
		b.wantTree("a.csv")
		batchtest.Must(t, os.Remove(ballast))
		if f := b.run(Options{}).Files[0]; f.Outcome != fileImported || f.RejectedFile != filepath.Join(volume, "a.csv.rejected.csv") {
			t.Errorf("with space again: %+v", f)
		}
		b.wantTree("processed/a.csv")
	})
}

func TestTheAgeOfAFileOutlivesAClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "tips.csv")
	if err := os.WriteFile(name, []byte("tip\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	for passed, settled := range map[time.Duration]bool{0: false, 2 * time.Minute: true, -30 * time.Second: false, -24 * time.Hour: true} {
		now := time.Now().Add(passed)
		if got := now.Sub(lastChange(info, now)) >= time.Minute; got != settled {
			t.Errorf("%s after it was written: settled %t, want %t", passed, got, settled)
		}
	}
}

func TestAFileThatChangesWhileItIsReadIsNotMoved(t *testing.T) {
	t.Parallel()
	shared := newInbox(t)
	for name, change := range map[string]func(b *inbox) error{
		"grows": func(b *inbox) error {
			f, err := os.OpenFile(b.path("tips.csv"), os.O_APPEND|os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString(tipC + "\n")
				err = errors.Join(err, f.Close())
			}
			return err
		},
		"is replaced": func(b *inbox) error {
			b.put("other", "tip\n"+tipB+"\n?\n")
			return os.Rename(b.path("other"), b.path("tips.csv"))
		},
		"is touched": func(b *inbox) error { return os.Chtimes(b.path("tips.csv"), time.Now(), time.Now()) },
	} {
		t.Run(name, func(t *testing.T) {
			b := shared.sharing(t)
			b.put("tips.csv", "tip\n"+tipA+"\n?\n")
			var once sync.Once
			b.Progress = func(Progress) {
				once.Do(func() {
					if err := change(b); err != nil {
						t.Error(err)
					}
				})
			}
			if summary := b.run(Options{}); summary.Files[0].Outcome != fileChanged || summary.Rejected != 0 || summary.Files[0].MovedTo != "" {
				t.Errorf("%+v", summary.Files[0])
			}
			b.wantTree("tips.csv")
			// The next run finds it whole.
			if got := b.run(Options{}).Files[0].Outcome; got != fileImported {
				t.Errorf("the next run: %s", got)
			}
		})
	}
}

func TestASignalEndsTheWaitForTheWriterOfAPipe(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	batchtest.Must(t, unix.Mkfifo(b.path("pipe"), 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	began := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		close(began)
		result, err := b.importNamed(ctx, Options{}, b.path("pipe"), 0)
		if result.Outcome != fileInterrupted {
			t.Errorf("%+v", result)
		}
		ended <- err
	}()
	<-began
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the open of a pipe does not end")
	}
	// The goroutine that opens it ends as soon as somebody writes.
	f, err := os.OpenFile(b.path("pipe"), os.O_RDWR, 0)
	batchtest.Must(t, err)
	files.Release(f)
}

func TestTwoImportsOfOneFolderHarmNothing(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	for f := range 10 {
		var text strings.Builder
		text.WriteString("tip\n?\n")
		for i := range 200 {
			fmt.Fprintf(&text, "%064x\n", f*100+i)
		}
		b.put(fmt.Sprintf("tips%d.csv", f), text.String())
	}
	results := make([]Summary, 2)
	var group sync.WaitGroup
	for i := range results {
		group.Go(func() {
			var err error
			if results[i], err = b.Run(t.Context(), Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	imported := 0
	for _, r := range results {
		for _, f := range r.Files {
			switch f.Outcome {
			case fileImported:
				imported++
			case fileGone, fileBusy:
			default:
				t.Errorf("%+v", f)
			}
		}
	}
	if imported != 10 || b.records() != 1100 {
		t.Errorf("%d files imported, %d records", imported, b.records())
	}
	if tree := b.tree(); len(tree) != 20 {
		t.Errorf("there are %q", tree)
	}
}

func TestAFileTakenByAnotherRunIsNoError(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	b.put("tips.csv", "tip\n"+tipA+"\n")
	b.Progress = func(Progress) { _ = os.Remove(b.path("tips.csv")) }
	if summary := b.run(Options{}); summary.Files[0].Outcome != fileGone || summary.Failed != 0 {
		t.Errorf("%+v", summary.Files[0])
	}
}

// Else both would import it, and each would count its rejected rows.
func TestAFileThatAnotherRunReadsIsLeftToIt(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	b.put("tips.csv", "tip\n"+tipA+"\n?\n")
	other, _, err := openInboxFile(b.path("tips.csv"))
	batchtest.Must(t, err)
	if s := b.run(Options{}); s.Files[0].Outcome != fileBusy || s.Failed+s.Rejected != 0 || b.records() != 0 {
		t.Errorf("%+v", s)
	}
	b.wantTree("tips.csv")
	files.Release(other)
	if s := b.run(Options{}); s.New != 1 || s.Rejected != 1 {
		t.Errorf("after the other run: %+v", s)
	}
}

func TestLinksFoldersAndPipesAreNotRead(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	b.put("real.txt", "tip\n"+tipA+"\n")
	if err := errors.Join(os.Symlink("real.txt", b.path("link.csv")), os.Mkdir(b.path("folder.csv"), 0o755)); err != nil {
		t.Fatal(err)
	}
	summary := b.run(Options{})
	if len(summary.Files) != 2 || b.records() != 0 {
		t.Fatalf("%s", outcomes(summary))
	}
	for _, f := range summary.Files {
		if f.Outcome != fileSkipped || f.Reason == "" || f.MovedTo != "" {
			t.Errorf("%+v", f)
		}
	}
}

func TestFoldersThatCannotBeWrittenStopTheImportBeforeItBegins(t *testing.T) {
	t.Parallel()
	shared := newInbox(t)
	for _, key := range []string{"processed", "error"} {
		t.Run(key, func(t *testing.T) {
			b := shared.sharing(t)
			b.put("tips.csv", "tip\n"+tipA+"\n")
			b.put(key, "a file in the folder's place")
			_, err := b.Run(t.Context(), Options{})
			if err == nil || !strings.Contains(err.Error(), "[paths] "+key) || !strings.Contains(err.Error(), b.path(key)) {
				t.Errorf("error %v", err)
			}
			if n := b.records(); n != 0 {
				t.Errorf("%d records imported from a file that cannot be moved", n)
			}
			b.wantTree("tips.csv", key)
		})
	}
	b := shared.sharing(t)
	b.Paths.Input += "/missing"
	if _, err := b.Run(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), "create it") {
		t.Errorf("error %v", err)
	}
}

func TestNamedFilesStayAndADryRunChangesNothing(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	b.put("tips.csv", "tip\n"+tipA+"\n"+tipB+"\n?\n")
	const want = "tips.csv imported LCD rows=3 new=2 known=0 rejected=1"
	if got := outcomes(b.run(Options{DryRun: true})); got != want {
		t.Errorf("dry run: %s\nwant %s", got, want)
	}
	b.wantTree("tips.csv")
	if n := b.records(); n != 0 {
		t.Errorf("a dry run imported %d records", n)
	}
	summary := b.run(Options{Files: []string{b.path("tips.csv"), stdinName, b.path("missing.csv"), b.path("")}, Stdin: strings.NewReader(tipC + "\n"), ObjectType: "SO"})
	if f := summary.Files[0]; f.New != 2 || f.MovedTo != "" || f.Assumed || f.ObjectType != "SO" {
		t.Errorf("%+v", f)
	}
	if f := summary.Files[1]; f.New != 1 || f.ObjectType != "SO" {
		t.Errorf("stdin: %+v", f)
	}
	if summary.Failed != 2 || !strings.Contains(summary.Files[2].Reason, "no such file") || !strings.Contains(summary.Files[3].Reason, "folder") {
		t.Errorf("%+v", summary.Files[2:])
	}
	b.put("bad.csv", "tip\n?\n")
	if f := b.run(Options{Files: []string{b.path("bad.csv")}}).Files[0]; f.Outcome != fileUnusable || f.RejectedFile != b.path("error/bad.csv.rejected.csv") {
		t.Errorf("a named file without a good row: %+v", f)
	}
	b.wantTree("tips.csv", "error/tips.csv.rejected.csv", "bad.csv", "error/bad.csv.rejected.csv")
}

func TestANamedFormSaysNothingAgainstAHeaderInTheInputFolder(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	b.put("a.csv", "tip,lcdInspectionId\n"+tipA+",LCD - 1\n")
	b.put("b.csv", "tip\n"+tipB+"\n")
	summary := b.run(Options{ObjectType: "SO"})
	if summary.Files[0].ObjectType != "LCD" || summary.Files[1].ObjectType != "SO" || summary.Files[1].Assumed {
		t.Errorf("%+v", summary.Files)
	}
	b.put("a.csv", "tip,lcdInspectionId\n"+tipA+",LCD - 1\n")
	if f := b.run(Options{ObjectType: "SO", Files: []string{b.path("a.csv")}}).Files[0]; f.Outcome != fileUnusable {
		t.Errorf("a named file that contradicts: %+v", f)
	}
}

func TestAnInterruptedImportLeavesItsFileToTheNextRun(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	var text strings.Builder
	text.WriteString("tip\n")
	const rows = 3 * importChunk
	for i := range rows {
		fmt.Fprintf(&text, "%064x\n", i)
	}
	b.put("a.csv", text.String())
	b.put("b.csv", "tip\n"+tipA+"\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	b.Progress = func(Progress) { cancel(stop) }
	summary, err := b.Run(ctx, Options{})
	if !errors.Is(err, stop) || len(summary.Files) != 1 || summary.Files[0].Outcome != fileInterrupted {
		t.Fatalf("%v: %s", err, outcomes(summary))
	}
	if n := b.records(); n != importChunk || summary.New != importChunk {
		t.Errorf("%d records and %d reported, want the chunk that was in hand", n, summary.New)
	}
	if n := summary.Warnings; n != 0 {
		t.Errorf("%d warnings of a file that was not read to its end", n)
	}
	b.wantTree("a.csv", "b.csv")
	b.Progress = nil
	if got := b.run(Options{}); got.New != rows-importChunk+1 || got.Known != importChunk {
		t.Errorf("the next run: %s", outcomes(got))
	}
	// One that waits for its standard input ends too.
	silent, _ := io.Pipe()
	ctx, cancel = context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { cancel(stop) })
	if _, err := b.Run(ctx, Options{Files: []string{stdinName}, Stdin: silent}); !errors.Is(err, stop) {
		t.Errorf("with a silent standard input: %v", err)
	}
}

func TestImportNeedsNoMoreMemoryForALargeFile(t *testing.T) {
	b := newInbox(t)
	const rows = 100_000
	read, write := io.Pipe()
	go func() {
		var text strings.Builder
		text.WriteString("tip,lcdInspectionId,date\n")
		for i := range rows {
			fmt.Fprintf(&text, "%016x%048x,LCD - %06d,17-Sep-25\n", uint64(i)*0x9e3779b97f4a7c15, i, i)
			if text.Len() > 32<<10 || i == rows-1 {
				_, _ = io.WriteString(write, text.String())
				text.Reset()
			}
		}
		_ = write.Close()
	}()
	var first, most uint64 // in use after the first chunk, and at most
	b.Progress = func(Progress) {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		first, most = cmp.Or(first, stats.HeapAlloc), max(most, stats.HeapAlloc)
	}
	if got := b.run(Options{Files: []string{stdinName}, Stdin: read}); got.New != rows {
		t.Errorf("%s", outcomes(got))
	}
	if most > 48<<20 || most-first > 8<<20 { // the tips alone have 6 MB
		t.Errorf("%d MiB in use, %d after the first rows", most>>20, first>>20)
	}
}

func TestFilesMoveAcrossFileSystems(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	other, err := os.MkdirTemp("/dev/shm", "noggin-test-")
	if err != nil {
		t.Skip("no second file system: ", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(other) })
	b.Paths.Processed = other
	b.put("tips.csv", "tip\n"+tipA+"\n")
	was, err := os.Stat(b.path("tips.csv"))
	if err != nil {
		t.Fatal(err)
	}
	moved := b.run(Options{}).Files[0].MovedTo
	info, err := os.Stat(moved)
	if err != nil || !info.ModTime().Equal(was.ModTime()) || info.Size() != was.Size() {
		t.Errorf("%s: %v, %+v", moved, err, info)
	}
	b.put("tips.csv", "tip\n"+tipB+"\n")
	if got := b.run(Options{}).Files[0].MovedTo; got != filepath.Join(other, "tips-2.csv") {
		t.Errorf("moved to %s", got)
	}
	b.wantTree()
}

func TestNumberedNamesFitAndKeepTheirExtension(t *testing.T) {
	for _, test := range []struct {
		name string
		n    int
		want string
	}{
		{"tips.csv", 1, "tips.csv"},
		{"tips.csv", 2, "tips-2.csv"},
		{"2025.09.17.CSV", 12, "2025.09.17-12.CSV"},
		{strings.Repeat("é", 125) + ".csv", 1000, strings.Repeat("é", 123) + "-1000.csv"},
	} {
		if got := files.NumberedName(test.name, test.n); got != test.want {
			t.Errorf("%s, %d: %s, want %s", test.name, test.n, got, test.want)
		}
	}
}

// Links that an uploader puts in the place of noggin's folders lead nothing elsewhere.
func TestLinksInTheInputFolderLeadNothingElsewhere(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{"processed", "error"} {
		for _, target := range []string{"absolute", "relative", "within"} {
			t.Run(folder+" "+target, func(t *testing.T) {
				t.Parallel()
				b := newInbox(t)
				evidence := t.TempDir()
				to := evidence
				switch target {
				case "relative":
					var err error
					if to, err = filepath.Rel(b.Paths.Input, evidence); err != nil {
						t.Fatal(err)
					}
				case "within":
					evidence, to = b.path("other"), "other"
					if err := os.Mkdir(evidence, 0o700); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.Symlink(to, b.path(folder)); err != nil {
					t.Fatal(err)
				}
				b.put("good.csv", "tip,lcdInspectionId\n"+tipA+",LCD - 1\nno tip,LCD - 2\n")
				b.put("bad.csv", "no header\n")
				if summary, err := b.Run(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), "[paths] "+folder) {
					t.Errorf("%+v, %v", summary, err)
				}
				// A file that is named leaves its rejected rows in the error folder.
				_, _ = b.Run(t.Context(), Options{Files: []string{b.path("good.csv")}})
				if entries, err := os.ReadDir(evidence); err != nil || len(entries) > 0 {
					t.Errorf("the evidence got %v, %v", entries, err)
				}
			})
		}
	}
}

// What an uploader puts into a folder of names that is his own, or that is open to him,
// names nothing.
func TestAFolderOfNamesThatSomebodyElseMadeIsLeftAlone(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give folders away")
	}
	input := t.TempDir()
	m := &Importer{Paths: files.Paths{Input: input}, Names: map[string]string{}}
	for kind, made := range map[string]struct {
		owner int
		mode  os.FileMode
	}{"asset": {4711, 0o755}, "site": {0, 0o755}, "group": {0, 0o775 | os.ModeSetgid}, "all": {0, 0o757}} {
		folder := filepath.Join(input, "names-"+kind)
		m.Names[kind] = folder
		if err := errors.Join(os.Mkdir(folder, 0o777), os.WriteFile(filepath.Join(folder, kind+".csv"), nil, 0o600), os.Chown(folder, made.owner, -1), os.Chmod(folder, made.mode)); err != nil {
			t.Fatal(err)
		}
	}
	waiting, _, err := m.waiting()
	if err != nil || len(waiting) != 1 || waiting[0].kind != "site" {
		t.Errorf("%v, %v", waiting, err)
	}
}

// Whoever names a file steers no terminal that shows why it could not be used.
func TestTheReasonOfAFileShowsItsNameWithoutEffects(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	name := "\x1b]0;x\a\u202e é.csv"
	b.put(name, "no tips\n")
	b.run(Options{})
	if got := b.read("error/" + name + ".reason.txt"); !strings.HasPrefix(got, `\x1b]0;x\a\u202e é.csv: the file cannot be used`) {
		t.Errorf("%q", got)
	}
}
