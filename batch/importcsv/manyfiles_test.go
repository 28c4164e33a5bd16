package importcsv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"noggin/batch/batchtest"
	"noggin/batch/files"
)

const unusable = "nogginId,lcdInspectionId\nTotal,1\nSum,2\n"

func TestARunTakesABoundedNumberOfFiles(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	b.takes = 5
	folder, old := b.path("folder.csv"), time.Unix(1, 0) // it stays, and keeps no other file waiting
	batchtest.Must(t, os.Mkdir(folder, 0o755), os.Chtimes(folder, old, old))
	for i := range 12 {
		b.put(fmt.Sprintf("bad-%02d.csv", i), unusable)
	}
	for _, want := range []struct{ unusable, left int64 }{{5, 7}, {5, 2}, {2, 0}, {0, 0}} {
		if s := b.run(Options{}); s.Unusable != want.unusable || s.FilesLeft != want.left {
			t.Errorf("unusable %d, left %d, want %+v", s.Unusable, s.FilesLeft, want)
		}
	}
	if moved := strings.Count(strings.Join(b.tree(), "\n"), ".reason.txt"); moved != 12 {
		t.Errorf("%d reason files, want 12:\n%s", moved, strings.Join(b.tree(), "\n"))
	}
}

// A run looks at the oldest files of a very full folder. The others are counted, and later
// runs take them.
func TestARunLooksAtABoundedNumberOfFiles(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	var logged bytes.Buffer
	b.Log = slog.New(slog.NewTextHandler(&logged, nil))
	b.takes, b.looks = 3, 4
	aged := func(name string, age int) {
		t.Helper()
		at := time.Now().Add(-time.Duration(age) * time.Hour)
		batchtest.Must(t, os.Chtimes(b.path(name), at, at))
	}
	for i := range 10 { // the last by its name is the oldest
		name := fmt.Sprintf("bad-%02d.csv", i)
		b.put(name, unusable)
		aged(name, 1+i)
	}
	for _, want := range []struct{ unusable, left int64 }{{3, 7}, {3, 4}, {3, 1}, {1, 0}} {
		s := b.run(Options{})
		if s.Unusable != want.unusable || s.FilesLeft != want.left || want.left > 0 != strings.Contains(logged.String(), fmt.Sprintf("left=%d", want.left)) {
			t.Errorf("unusable %d, left %d, want %+v; logged %s", s.Unusable, s.FilesLeft, want, &logged)
		}
		if left, err := filepath.Glob(b.path("bad-*")); err != nil || int64(len(left)) != want.left || want.left > 0 && left[0] != b.path("bad-00.csv") {
			t.Errorf("left are %q, %v, want %d with the youngest", left, err, want.left)
		}
		logged.Reset()
	}
	for i := range 4 { // what cannot be taken, and is older than what can
		name := fmt.Sprintf("folder-%d.csv", i)
		batchtest.Must(t, os.Mkdir(b.path(name), 0o755))
		aged(name, 100)
	}
	b.put("tips.csv", "tip\n"+tipA+"\n")
	if s := b.run(Options{}); s.New != 0 || s.FilesLeft != 1 || !strings.Contains(logged.String(), "move those elsewhere") || !strings.Contains(logged.String(), "left=1") {
		t.Errorf("behind folders: %s, left %d; logged %s", outcomes(s), s.FilesLeft, &logged)
	}
	logged.Reset()
	batchtest.Must(t, os.Remove(b.path("folder-2.csv")))
	if s := b.run(Options{}); s.New != 1 || s.FilesLeft != 0 || strings.Contains(logged.String(), "elsewhere") {
		t.Errorf("behind one folder less: %s, left %d; logged %s", outcomes(s), s.FilesLeft, &logged)
	}
}

func TestWhatARunSaysOfManyFilesIsBounded(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	var logged bytes.Buffer
	b.Log = slog.New(slog.NewTextHandler(&logged, nil))
	const n = 3 * listedFiles
	for i := range n {
		b.put(fmt.Sprintf("bad-%03d.csv", i), unusable)
	}
	s := b.run(Options{DryRun: true})
	if s.FilesTotal != n || s.Unusable != n || s.Rejected != 2*n || len(s.Files) != listedFiles {
		t.Errorf("%d files, %d unusable, %d rejected, %d listed", s.FilesTotal, s.Unusable, s.Rejected, len(s.Files))
	}
	if lines := strings.Count(logged.String(), "\n"); lines > shownInRun {
		t.Errorf("%d lines are logged", lines)
	}
	if doc, err := json.Marshal(s); err != nil || len(doc) > 1000*listedFiles {
		t.Errorf("the summary has %d bytes: %v", len(doc), err)
	}
}

// A name beside a file's has an ending more, so a long one is cut.
func TestFilesWithLongNamesGetReasonsOfTheirOwn(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	for _, end := range []string{"a", "b", "c"} {
		b.put(strings.Repeat("x", 240)+end+".csv", unusable)
	}
	if s := b.run(Options{}); s.Unusable != 3 || s.Failed != 0 {
		t.Errorf("summary %+v", s)
	}
	tree := strings.Join(b.tree(), "\n")
	if strings.Count(tree, ".reason.txt") != 3 || strings.Count(tree, ".rejected.csv") != 3 {
		t.Errorf("the folders hold\n%s", tree)
	}
}

func TestAFileStaysWhoseRowsTheDatabaseRefused(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	execute := func(statement string) {
		t.Helper()
		db, err := sql.Open("postgres", b.url)
		batchtest.Must(t, err)
		defer db.Close()
		_, err = db.ExecContext(t.Context(), statement)
		batchtest.Must(t, err)
	}
	b.put("tips.csv", "tip\n"+tipA+"\nnone\n")
	execute(`ALTER TABLE noggin_schema.noggin_data ADD CONSTRAINT none CHECK (false) NOT VALID`)
	if summary, err := b.Run(t.Context(), Options{}); err == nil || summary.Files[0].Outcome != fileFailed {
		t.Errorf("%v: %s", err, outcomes(summary))
	}
	var many strings.Builder // more than is read ahead
	many.WriteString("tip\n")
	for i := range 6 * importChunk {
		fmt.Fprintf(&many, "%064x\n", i)
	}
	if summary, err := b.Run(t.Context(), Options{Files: []string{stdinName}, Stdin: strings.NewReader(many.String())}); err == nil || summary.New != 0 {
		t.Errorf("of many rows: %v: %s", err, outcomes(summary))
	}
	b.wantTree("tips.csv")
	execute(`ALTER TABLE noggin_schema.noggin_data DROP CONSTRAINT none`)
	if got := b.run(Options{}); got.New != 1 || got.Rejected != 1 {
		t.Errorf("the next run: %s", outcomes(got))
	}
	b.wantTree("error/tips.csv.rejected.csv", "processed/tips.csv")
}

func TestWhatIsImportedIsToldByItsContentBeforeItMoves(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	text := "tip\n" + tipA + "\n"
	want := fmt.Sprintf("tips %x", sha256.Sum256([]byte(text)))
	var told []string
	refused := errors.New("the database is away")
	b.Imported = func(_ context.Context, kind, sum string) error {
		told = append(told, kind+" "+sum)
		if len(told) == 1 {
			return refused
		}
		return nil
	}
	b.put("a.csv", text)
	if _, err := b.Run(t.Context(), Options{DryRun: true}); err != nil || len(told) > 0 {
		t.Errorf("a dry run told %q, %v", told, err)
	}
	if _, err := b.Run(t.Context(), Options{}); !errors.Is(err, refused) {
		t.Errorf("error %v", err)
	}
	b.wantTree("a.csv")
	b.put("bad.csv", unusable)
	b.run(Options{})
	if !slices.Equal(told, []string{want, want}) {
		t.Errorf("told %q, want %q twice", told, want)
	}
	b.wantTree("processed/a.csv", "error/bad.csv", "error/bad.csv.reason.txt", "error/bad.csv.rejected.csv")
}

// Also of a file whose header is enough to refuse it.
func TestWhatCannotBeUsedIsToldByItsContentBeforeItMoves(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	var told []string
	refused := errors.New("the database is away")
	b.Unusable = func(_ context.Context, kind, sum string) error {
		told = append(told, kind+" "+sum)
		if len(told) == 1 {
			return refused
		}
		return nil
	}
	var want []string
	for name, text := range map[string]string{"rows.csv": unusable, "none.csv": "tip\n", "header.csv": strings.Repeat("name,colour\n", 100_000)} {
		b.put(name, text)
		want = append(want, fmt.Sprintf("tips %x", sha256.Sum256([]byte(text))))
	}
	if _, err := b.Run(t.Context(), Options{DryRun: true}); err != nil || len(told) > 0 {
		t.Errorf("a dry run told %q, %v", told, err)
	}
	if _, err := b.Run(t.Context(), Options{}); !errors.Is(err, refused) {
		t.Errorf("error %v", err)
	}
	b.wantTree("header.csv", "none.csv", "rows.csv")
	if s := b.run(Options{}); s.Unusable != 3 {
		t.Errorf("%+v", s)
	}
	told = told[min(1, len(told)):]
	slices.Sort(told)
	slices.Sort(want)
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestAFileThatComesJustBeforeTheMoveStays(t *testing.T) {
	t.Parallel()
	b := newInbox(t)
	b.put("a.csv", "tip\n"+tipA+"\n")
	read, err := os.Lstat(b.path("a.csv"))
	batchtest.Must(t, err)
	tray, err := openTray("processed", b.Paths, b.Paths.Processed)
	batchtest.Must(t, err)
	defer files.Release(tray)
	swap := func(string) error {
		b.put("new", "tip\n")
		return os.Rename(b.path("new"), b.path("a.csv"))
	}
	if to, err := moveInto(tray, b.path("a.csv"), read, swap); !errors.Is(err, errChanged) {
		t.Errorf("moved to %q, %v", to, err)
	}
	b.wantTree("a.csv")
	if text := b.read("a.csv"); text != "tip\n" {
		t.Errorf("it holds %q", text)
	}
}

// writer is a function that takes what is written.
type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestAFileThatChangesWhileItIsCopiedStays(t *testing.T) {
	t.Parallel()
	at := filepath.Join(t.TempDir(), "a.csv")
	batchtest.Must(t, os.WriteFile(at, []byte("tip\n"), 0o600))
	in, err := os.Open(at)
	batchtest.Must(t, err)
	defer files.Release(in)
	read, err := in.Stat()
	batchtest.Must(t, err)
	if err := copyUnchanged(io.Discard, in, read); err != nil {
		t.Errorf("an unchanged file: %v", err)
	}
	_, err = in.Seek(0, io.SeekStart)
	batchtest.Must(t, err)
	grow := func(p []byte) (int, error) { return len(p), os.WriteFile(at, []byte("tip\n"+tipA+"\n"), 0o600) }
	if err := copyUnchanged(writer(grow), in, read); !errors.Is(err, errChanged) {
		t.Errorf("a file that grew: %v", err)
	}
}

// A copy is flushed before its original is removed, and that takes long on a slow disk.
func TestAFileThatChangesAfterItWasCopiedStays(t *testing.T) {
	t.Parallel()
	at := filepath.Join(t.TempDir(), "a.csv")
	batchtest.Must(t, os.WriteFile(at, []byte("tip\n"), 0o600))
	read, err := os.Lstat(at)
	batchtest.Must(t, err, os.WriteFile(at, []byte("tip\n"+tipA+"\n"), 0o600))
	if err := removeCopied(at, read); !errors.Is(err, errChanged) {
		t.Errorf("a file that grew: %v", err)
	}
	if read, err = os.Lstat(at); err != nil {
		t.Fatalf("it is gone: %v", err)
	}
	if err := removeCopied(at, read); err != nil {
		t.Errorf("an unchanged file: %v", err)
	}
	if _, err = os.Lstat(at); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there: %v", err)
	}
	if err := removeCopied(at, read); err != nil {
		t.Errorf("a file that somebody took: %v", err)
	}
}
