package batch

import (
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/storage"
)

// archiveChild tells a copy of the test program to archive, and to kill itself at
// a step: "database URL|output|archive|step".
const archiveChild = "NOGGIN_TEST_ARCHIVE_CHILD"

// TestArchiveChild is no test of its own but what TestKilledAtAnyStep runs.
func TestArchiveChild(t *testing.T) {
	task := os.Getenv(archiveChild)
	if task == "" {
		t.Skip("only runs as the child of another test")
	}
	parts := strings.Split(task, "|")
	die, err := strconv.Atoi(parts[3])
	must(t, err)
	cfg := storage.DefaultConfig()
	cfg.URL = parts[0]
	db, err := storage.Open(cfg, "archive create")
	must(t, err)
	config := DefaultConfig()
	config.Paths.Output, config.Paths.Archive = parts[1], parts[2]
	steps := 0
	a := &Archiver{DB: db, Config: config, Log: slog.New(slog.DiscardHandler), step: func(string) {
		if steps++; steps == die {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}}
	_, err = a.Create(t.Context(), everything)
	must(t, err)
}

// child archives in a process of its own that dies at the step, or is killed after
// a while. It tells whether it was.
func (s *shelf) child(step int, after time.Duration) (killed bool) {
	s.t.Helper()
	command := exec.CommandContext(s.t.Context(), os.Args[0], "-test.run=^TestArchiveChild$")
	paths := s.Config.Paths
	command.Env = append(os.Environ(), archiveChild+"="+strings.Join([]string{s.url, paths.Output, paths.Archive, strconv.Itoa(step)}, "|"))
	var out strings.Builder
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		s.t.Fatal(err)
	}
	if after > 0 {
		timer := time.AfterFunc(after, func() { _ = command.Process.Kill() })
		defer timer.Stop()
	}
	err := command.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true
	}
	if err != nil {
		s.t.Fatalf("%v\n%s", err, &out)
	}
	return false
}

// finish carries on after a killed run, and checks that all ends well.
func (s *shelf) finish(when string) {
	s.t.Helper()
	s.mustHaveAll(when, s.readArchives(when))
	summary := s.mustCreate(everything)
	if summary.LeftOutCount+summary.Busy+len(summary.Problems) > 0 {
		s.t.Errorf("%s: summary %+v", when, summary)
	}
	if left := hashes(s.t, s.Config.Paths.Output); len(left) > 0 {
		s.t.Errorf("%s: left on disk: %v", when, left)
	}
	if archived := s.readArchives(when); !maps.Equal(archived, s.originals) {
		s.t.Errorf("%s: in the archives are %d files instead of %d", when, len(archived), len(s.originals))
	}
	if left := append(glob(filepath.Join(s.Config.Paths.Archive, "*"+partialExt)), glob(filepath.Join(s.Config.Paths.Output, RemovingFolder))...); len(left) > 0 {
		s.t.Errorf("%s: left behind: %v", when, left)
	}
	if n := s.scalar(`SELECT count(*) FROM noggin_data WHERE NOT archived OR report_archive_id IS NULL OR claimed_by IS NOT NULL`) +
		s.scalar(`SELECT count(*) FROM attachments WHERE archive_id IS NULL`) + s.scalar(`SELECT count(*) FROM archives WHERE state <> 'done'`); n != 0 {
		s.t.Errorf("%s: %d rows are not as they should be", when, n)
	}
}

// readArchives is inArchives without other programs, for where it is done often:
// whatever has an archive's name has to be a whole one.
func (s *shelf) readArchives(when string) map[string]string {
	s.t.Helper()
	found := map[string]string{}
	for _, archive := range glob(filepath.Join(s.Config.Paths.Archive, "*"+ArchiveExt)) {
		if _, err := verifyArchive(s.t.Context(), archive, func(f ManifestFile) error {
			found[f.Path] = f.SHA256
			return nil
		}); err != nil {
			s.t.Errorf("%s: %v", when, err)
		}
	}
	return found
}

// reset brings disk and database back to before anything was archived.
func (s *shelf) reset(pristine string) {
	s.t.Helper()
	s.forgetArchives()
	paths := s.Config.Paths
	must(s.t, os.RemoveAll(paths.Archive), os.RemoveAll(filepath.Join(paths.Output, "2025")), os.RemoveAll(filepath.Join(paths.Output, RemovingFolder)))
	must(s.t, os.CopyFS(filepath.Join(paths.Output, "2025"), os.DirFS(filepath.Join(pristine, "2025"))))
}

func TestKilledAtAnyStepNoFileIsLost(t *testing.T) {
	t.Parallel()
	needTools(t)
	s := newShelf(t, apitest.Options{Records: 4, Forms: []string{"LCD"}, Photos: apitest.Range{Min: 1, Max: 2}, MediaBytes: apitest.Range{Min: 2000, Max: 200_000}, Days: 6, FirstDay: time.Date(2025, 1, 29, 0, 0, 0, 0, time.UTC)})
	pristine := t.TempDir()
	must(t, os.CopyFS(pristine, os.DirFS(s.Config.Paths.Output)))
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
