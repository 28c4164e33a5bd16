package archive

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/health"
	"noggin/batch/process"
)

// Whoever cannot look for an archive cannot tell that it is lost.
func TestAnArchiveThatCannotBeLookedAtIsNotLost(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 1, Forms: []string{"LCD"}, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	s.mustCreate(everything)
	at := filepath.Join(s.Paths.Archive, "noggin-2025-03.tar.zst")
	batchtest.Must(t, os.Rename(at, at+".away"), os.Symlink(at, at))
	if _, _, err := s.Losing(t.Context(), "noggin-2025-03"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("asked: %v", err)
	}
	if lost, err := s.Lose(t.Context(), "noggin-2025-03", "x"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("given up: %+v, %v", lost, err)
	}
}

// A former file exists nowhere once its archive is lost: it stays recorded as lost, and
// the platform serves the others again. Giving up twice changes nothing more.
func TestALostArchiveEndsItsAlarmAndItsLossStaysRecorded(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 3, Forms: []string{"LCD"}, Photos: apitest.Fixed(2), MediaBytes: apitest.Range{Min: 2000, Max: 3000}, Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	first := s.Server.Record(0)
	s.Server.Edit(first.Tip, apitest.Edit{Replace: []string{first.Attachments[1].Tip}})
	if sum := s.MustRun(process.Options{Refresh: true, Media: true, UntilEmpty: true}); sum.Changed != 1 {
		t.Fatalf("summary %+v\n%s", sum, s.Logged)
	}
	s.mustCreate(everything)
	alarms := func() int {
		t.Helper()
		archives, err := health.ReadArchives(t.Context(), s.DB, s.Paths.Archive, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return len(health.JudgeArchives(archives, time.Now()))
	}
	at := filepath.Join(s.Paths.Archive, "noggin-2025-03.tar.zst")
	if err := os.Rename(at, at+".away"); err != nil {
		t.Fatal(err)
	}
	if alarms() != 1 {
		t.Fatalf("%d alarms of the missing archive", alarms())
	}
	if _, err := s.Forget(t.Context(), "noggin-2025-03"); err == nil {
		t.Error("it was forgotten with the files in it")
	}
	// Another host sees it.
	s.exec(`UPDATE archives SET host = 'another', seen_at = now()`)
	if lost, err := s.Lose(t.Context(), "noggin-2025-03", "x"); err == nil || !strings.Contains(err.Error(), "the host another saw it") {
		t.Fatalf("given up while another host sees it: %+v, %v", lost, err)
	}
	s.exec(`UPDATE archives SET seen_at = now() - interval '27 hours'`)
	if held, _, err := s.Losing(t.Context(), "noggin-2025-03"); err != nil || held == 0 {
		t.Errorf("a day later: %d files, %v", held, err)
	}
	s.exec(`UPDATE archives SET host = $1, seen_at = NULL`, s.DB.Host())
	formers := s.scalar(`SELECT count(*) FROM former_files WHERE archive_id IS NOT NULL`)
	lost, err := s.Lose(t.Context(), "noggin-2025-03", "the disk died")
	if err != nil || formers == 0 || lost.Former != formers || lost.Files != 9 || lost.Records != 3 || lost.Queued != 3 || lost.Busy != 0 {
		t.Fatalf("lost %+v, %v; %d former files", lost, err, formers)
	}
	again, err := s.Lose(t.Context(), "noggin-2025-03", "another word")
	if err != nil || again.Files != 0 || s.scalar(`SELECT count(*) FROM archives WHERE lost_reason = 'the disk died'`) != 1 {
		t.Errorf("again: %+v, %v", again, err)
	}
	if n := alarms(); n != 0 {
		t.Errorf("%d alarms of what was given up", n)
	}
	if sum := s.MustRun(process.Options{UntilEmpty: true}); sum.Complete != 3 || sum.Unsuccessful() != 0 {
		t.Fatalf("summary %+v\n%s", sum, s.Logged)
	}
	if n := len(s.onDisk()); n != 9 {
		t.Errorf("%d files on disk, want three reports and six photographs", n)
	}
	if n := s.scalar(`SELECT count(*) FROM former_files o JOIN archives v ON v.id = o.archive_id WHERE v.lost_at IS NOT NULL`); n != formers {
		t.Errorf("%d former files are recorded as lost, want %d", n, formers)
	}
	if n := s.scalar(`SELECT count(*) FROM processing_errors WHERE error_type = 'lost'`); n != 3 {
		t.Errorf("%d notes of the loss, want one a record", n)
	}
	// It turns up after all, and has the former files.
	if err := os.Rename(at+".away", at); err != nil {
		t.Fatal(err)
	}
	if found, err := s.Register(t.Context(), RegisterOptions{File: at}); err != nil || found.FilesOnDisk != 9 {
		t.Errorf("registered: %+v, %v", found, err)
	}
	s.mustVerify()
	if _, err := s.Lose(t.Context(), "noggin-2025-03", "x"); err == nil {
		t.Error("it was given up while it is there")
	}
	// It is lost once more, and the same disk is to blame: that is another loss.
	batchtest.Must(t, os.Rename(at, at+".away"))
	if lost, err := s.Lose(t.Context(), "noggin-2025-03", "the disk died"); err != nil || lost.Former != formers || lost.Files != 0 {
		t.Errorf("lost once more: %+v, %v", lost, err)
	}
	if n := s.scalar(`SELECT count(*) FROM processing_errors WHERE error_type = 'lost'`); n != 4 {
		t.Errorf("%d notes of both losses, want 3 and 1", n)
	}
}

// A run that gives an archive up may be killed. Whoever repeats the command may use other
// words.
func TestALossThatGoesOnIsNotedOnceForItsFirstReason(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 2, Forms: []string{"LCD"}, Photos: apitest.Fixed(1), Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	for i := range 2 { // their former photographs stay recorded in the archive
		r := s.Server.Record(i)
		s.Server.Edit(r.Tip, apitest.Edit{Replace: []string{r.Attachments[0].Tip}})
	}
	if sum := s.MustRun(process.Options{Refresh: true, Media: true, UntilEmpty: true}); sum.Changed != 2 {
		t.Fatalf("summary %+v\n%s", sum, s.Logged)
	}
	s.mustCreate(everything)
	at := filepath.Join(s.Paths.Archive, "noggin-2025-03.tar.zst")
	batchtest.Must(t, os.Rename(at, at+".away"))
	release := s.takeFirst() // what a killed run has left
	if lost, err := s.Lose(t.Context(), "noggin-2025-03", "the disk died"); err != nil || lost.Busy != 1 || lost.Records != 1 {
		t.Errorf("as far as the first: %+v, %v", lost, err)
	}
	release()
	if lost, err := s.Lose(t.Context(), "noggin-2025-03", "it burned"); err != nil || lost.Busy != 0 || lost.Reason != "the disk died" {
		t.Errorf("to the end: %+v, %v", lost, err)
	}
	if n := s.scalar(`SELECT count(*) FROM archives WHERE lost_at IS NOT NULL AND lost_reason = 'the disk died'`); n != 1 {
		t.Error("the archive is not lost for the first reason")
	}
	if n := s.scalar(`SELECT count(*) FROM processing_errors WHERE error_type = 'lost' AND error_message LIKE '%: the disk died'`); n != 2 {
		t.Errorf("%d notes of the loss, want one a record", n)
	}
	if n := s.scalar(`SELECT count(*) FROM processing_errors WHERE error_type = 'lost'`); n != 2 {
		t.Errorf("%d notes in all", n)
	}
}

// Otherwise nobody would know that photographs are neither on disk nor due.
func TestAnArchiveIsLostOnlyWhenAllItsRecordsAreDueAgain(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 2, Forms: []string{"LCD"}, Photos: apitest.Fixed(1), Days: 3, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	s.mustCreate(everything)
	at := filepath.Join(s.Paths.Archive, "noggin-2025-03.tar.zst")
	batchtest.Must(t, os.Rename(at, at+".away"))
	told := func(when string, want int) {
		t.Helper()
		archives, err := health.ReadArchives(t.Context(), s.DB, s.Paths.Archive, time.Now())
		if n := len(health.JudgeArchives(archives, time.Now())); err != nil || n != want {
			t.Errorf("%s: %d alarms, want %d, %v", when, n, want, err)
		}
	}
	release := s.takeFirst()
	if lost, err := s.Lose(t.Context(), "noggin-2025-03", "the disk died"); err != nil || lost.Busy != 1 || lost.Records != 1 {
		t.Errorf("with a busy record: %+v, %v", lost, err)
	}
	told("one record is left", 1)
	release()
	if lost, err := s.Lose(t.Context(), "noggin-2025-03", "the disk died"); err != nil || lost.Busy != 0 || lost.Records != 1 {
		t.Errorf("when it is free: %+v, %v", lost, err)
	}
	told("none is left", 0)
}
