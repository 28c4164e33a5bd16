package archive

import (
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/archive/format"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/storage"
)

// archiveChild tells a copy of the test program to archive, and to kill itself at
// a step: "database URL|output|archive|step|what".
const archiveChild = "NOGGIN_TEST_ARCHIVE_CHILD"

// TestArchiveChild is no test of its own but what TestKilledAtAnyStep runs.
func TestArchiveChild(t *testing.T) {
	task := os.Getenv(archiveChild)
	if task == "" {
		t.Skip("only runs as the child of another test")
	}
	parts := strings.Split(task, "|")
	die, err := strconv.Atoi(parts[3])
	batchtest.Must(t, err)
	cfg := storage.DefaultConfig()
	cfg.URL = parts[0]
	db, err := storage.Open(cfg, "archive create")
	batchtest.Must(t, err)
	steps := 0
	a := &Archiver{DB: db, Paths: files.Paths{Output: parts[1], Archive: parts[2]}, ClaimLease: 2 * time.Minute, Log: slog.New(slog.DiscardHandler), step: func(string) {
		if steps++; steps == die {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}}
	switch command, target, _ := strings.Cut(parts[4], " "); command {
	case "restore":
		_, err = a.Restore(t.Context(), RestoreOptions{Target: target, InPlace: true})
	case "register":
		_, err = a.Register(t.Context(), RegisterOptions{File: target})
	default:
		_, err = a.Create(t.Context(), everything)
	}
	batchtest.Must(t, err)
}

// child archives in a process of its own that dies at the step, or is killed after
// a while. It tells whether it was.
func (s *shelf) child(step int, after time.Duration) (killed bool) {
	s.T.Helper()
	return s.childAt("create", step, after)
}

// childAt is child for other work: "restore NAME", "register FILE".
func (s *shelf) childAt(work string, step int, after time.Duration) (killed bool) {
	s.T.Helper()
	command := exec.CommandContext(s.T.Context(), os.Args[0], "-test.run=^TestArchiveChild$")
	paths := s.Paths
	command.Env = append(os.Environ(), archiveChild+"="+strings.Join([]string{s.URL, paths.Output, paths.Archive, strconv.Itoa(step), work}, "|"))
	var out strings.Builder
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		s.T.Fatal(err)
	}
	if after > 0 {
		timer := time.AfterFunc(after, func() { _ = command.Process.Kill() })
		defer timer.Stop()
	}
	err := command.Wait()
	// What it had sent last may still be at work, and holds its rows.
	for s.scalar(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'noggin archive create'`) > 0 {
		time.Sleep(5 * time.Millisecond)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true
	}
	if err != nil {
		s.T.Fatalf("%v\n%s", err, &out)
	}
	return false
}

// finish carries on after a killed run, and checks that all ends well.
func (s *shelf) finish(when string) {
	s.T.Helper()
	s.mustHaveAll(when, s.readArchives(when))
	summary := s.mustCreate(everything)
	if summary.LeftOutCount+summary.Busy+len(summary.Problems) > 0 {
		s.T.Errorf("%s: summary %+v", when, summary)
	}
	if left := hashes(s.T, s.Paths.Output); len(left) > 0 {
		s.T.Errorf("%s: left on disk: %v", when, left)
	}
	if archived := s.readArchives(when); !maps.Equal(archived, s.originals) {
		s.T.Errorf("%s: in the archives are %d files instead of %d", when, len(archived), len(s.originals))
	}
	if left := append(glob(filepath.Join(s.Paths.Archive, "*"+files.PartialExt)), glob(filepath.Join(s.Paths.Output, files.RemovingFolder))...); len(left) > 0 {
		s.T.Errorf("%s: left behind: %v", when, left)
	}
	if n := s.scalar(`SELECT count(*) FROM noggin_data WHERE NOT archived OR report_archive_id IS NULL OR claimed_by IS NOT NULL`) +
		s.scalar(`SELECT count(*) FROM attachments WHERE archive_id IS NULL`) + s.scalar(`SELECT count(*) FROM archives WHERE state <> 'done'`); n != 0 {
		s.T.Errorf("%s: %d rows are not as they should be", when, n)
	}
}

// readArchives is inArchives without other programs, for where it is done often:
// whatever has an archive's name has to be a whole one.
func (s *shelf) readArchives(when string) map[string]string {
	s.T.Helper()
	found := map[string]string{}
	for _, archive := range glob(filepath.Join(s.Paths.Archive, "*"+format.Ext)) {
		_, err := format.Verify(s.T.Context(), archive, nil)
		if err == nil {
			err = format.EachGroup(s.T.Context(), archive, func(_ *format.Reader, records [][]format.File) error {
				for _, f := range slices.Concat(records...) {
					found[f.Path] = f.SHA256
				}
				return nil
			})
		}
		if err != nil {
			s.T.Errorf("%s: %v", when, err)
		}
	}
	return found
}

// reset brings disk and database back to before anything was archived.
func (s *shelf) reset(pristine string) {
	s.T.Helper()
	s.forgetArchives()
	paths := s.Paths
	batchtest.Must(s.T, os.RemoveAll(paths.Archive), os.RemoveAll(filepath.Join(paths.Output, "2025")), os.RemoveAll(filepath.Join(paths.Output, files.RemovingFolder)))
	batchtest.Must(s.T, os.CopyFS(filepath.Join(paths.Output, "2025"), os.DirFS(filepath.Join(pristine, "2025"))))
}

func TestKilledAtAnyStepNoFileIsLost(t *testing.T) {
	t.Parallel()
	needTools(t)
	s := newShelf(t, apitest.Options{Records: 4, Forms: []string{"LCD"}, Photos: apitest.Range{Min: 1, Max: 2}, MediaBytes: apitest.Range{Min: 2000, Max: 200_000}, Days: 6, FirstDay: time.Date(2025, 1, 29, 0, 0, 0, 0, time.UTC)})
	pristine := t.TempDir()
	batchtest.Must(t, os.CopyFS(pristine, os.DirFS(s.Paths.Output)))
	steps, kills := 0, 0
	for {
		steps++
		killed := s.child(steps, 0)
		when := "killed at step " + strconv.Itoa(steps)
		// Now and then the one that carries on dies too.
		if killed && steps%3 == 0 {
			s.mustHaveAll(when, s.readArchives(when))
			if s.child(1+rand.IntN(12), 0) {
				kills++
			}
			when += " and again"
		}
		s.finish(when)
		if t.Failed() || !killed {
			break
		}
		kills++
		s.reset(pristine)
	}
	if steps < 20 {
		t.Errorf("only %d steps", steps)
	}
	random := 6
	if os.Getenv("NOGGIN_FAULTS") == "full" {
		random = 100
	}
	for range random {
		s.reset(pristine)
		after := time.Duration(5+rand.IntN(120)) * time.Millisecond
		if s.child(-1, after) {
			kills++
		}
		s.finish("killed after " + after.String())
	}
	s.mustHaveAll("at the end", s.inArchives())
	t.Logf("%d steps, %d kills", steps, kills)
}

// Restores and registrations that are killed at any moment lose nothing, and the next one
// ends what they began.
func TestKilledRestoresAndRegistrationsAreEndedByTheNext(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 30, Photos: apitest.Range{Min: 1, Max: 2}, MediaBytes: apitest.Range{Min: 2000, Max: 3000}, Days: 5, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	archive := s.mustCreate(everything).Archives[0]
	killed := 0
	whole := func() map[string]string { // without what the killed one had begun to write
		found := s.onDisk()
		maps.DeleteFunc(found, func(name, _ string) bool { return strings.HasPrefix(name, files.TempFolder) })
		return found
	}
	for trial := range 3 {
		after := time.Duration(rand.IntN(400)+40*trial) * time.Millisecond
		if s.childAt("restore "+archive.Name, 0, after) {
			killed++
		}
		s.mustHaveAll("after a killed restore", s.readArchives("after a killed restore"))
		summary, err := s.Restore(t.Context(), RestoreOptions{Target: archive.Name, InPlace: true})
		if err != nil || summary.LeftOutCount+summary.Busy+summary.NotHeld > 0 || !maps.Equal(whole(), s.originals) {
			t.Fatalf("restored after a kill: %+v, %v", summary, err)
		}
		if n := s.scalar(`SELECT count(*) FROM noggin_data WHERE archived OR claimed_by IS NOT NULL`) + s.scalar(`SELECT count(*) FROM attachments WHERE archive_id IS NOT NULL`); n != 0 {
			t.Errorf("%d rows are not as they should be", n)
		}
		_, err = s.Forget(t.Context(), archive.Name)
		batchtest.Must(t, err)
		for name := range s.originals { // the server lost the archive's commits
			batchtest.Must(t, os.Remove(filepath.Join(s.Paths.Output, name)))
		}
		if s.childAt("register "+archive.Path, 0, after) {
			killed++
		}
		registered, err := s.Register(t.Context(), RegisterOptions{File: archive.Path})
		if err != nil || registered.LeftOutCount+registered.Busy+registered.UnknownFiles > 0 || registered.State != storage.ArchiveDone {
			t.Fatalf("registered after a kill: %+v, %v", registered, err)
		}
		if n := s.scalar(`SELECT count(*) FROM noggin_data WHERE NOT archived OR report_archive_id IS NULL OR claimed_by IS NOT NULL`) + s.scalar(`SELECT count(*) FROM attachments WHERE archive_id IS NULL`); n != 0 {
			t.Errorf("%d rows are not as they should be", n)
		}
		s.mustVerify()
	}
	t.Logf("%d of 6 were killed", killed)
}
