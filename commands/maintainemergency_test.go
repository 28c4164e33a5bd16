package commands

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"noggin/batch/files"
	"noggin/batch/maintain"
	"noggin/commands/cmdline"
	"noggin/storage"
)

// leaveRubbish puts an old unfinished download into the output folder.
func (i *installation) leaveRubbish() (path string) {
	i.t.Helper()
	path = filepath.Join(i.dir, "output", files.TempFolder, "1-OLD.part")
	long := time.Now().Add(-24 * time.Hour)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, make([]byte, 4096), 0o600), os.Chtimes(path, long, long)); err != nil {
		i.t.Fatal(err)
	}
	return path
}

func TestAnEmergencyIsOnlyPlannedWithoutYes(t *testing.T) {
	t.Parallel()
	i := newInstallation(t, "")
	rubbish := i.leaveRubbish()
	r := document[maintain.EmergencyResult](i, 0, "maintain", "emergency", "--target", "0.001%")
	if !r.DryRun || len(r.Steps) != 4 || r.Steps[0].Bytes != 4096 || r.Steps[0].Done {
		t.Errorf("%+v", r)
	}
	if archive := r.Steps[3]; !strings.Contains(archive.Skipped, "--archive-to DIR") {
		t.Errorf("%+v", archive)
	}
	if len(r.Uses) == 0 || r.Uses[0].What != "temporary files" || !r.Uses[0].SameVolume {
		t.Errorf("%+v", r.Uses)
	}
	if _, err := os.Stat(rubbish); err != nil {
		t.Error(err)
	}
	stdout, _ := i.run(0, "maintain", "emergency")
	if !strings.Contains(stdout, "nothing was changed: --yes does it") {
		t.Error(stdout)
	}
	// As `noggin report` and df -H write sizes, not in units of 1024.
	if strings.Contains(stdout, "iB") || !strings.Contains(stdout, "GB free of ") {
		t.Error(stdout)
	}
}

func TestAnEmergencyGoesOnUntilTheTargetAndPausesMeanwhile(t *testing.T) {
	t.Parallel()
	i := newInstallation(t, "")
	rubbish := i.leaveRubbish()
	// Out of reach: every step is done, those that cannot be are told.
	r := document[maintain.EmergencyResult](i, cmdline.ExitPartial, "maintain", "emergency", "--yes", "--target", "0.001%", "--vacuum-full")
	if r.Reached || !r.PausedByUs || !r.Steps[0].Done || !r.Steps[1].Done || !r.Steps[2].Done || r.Steps[3].Skipped == "" {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(rubbish); !errors.Is(err, os.ErrNotExist) {
		t.Error("the unfinished file is still there")
	}
	standing, err := i.db.Standing(t.Context())
	if err != nil || standing.Paused {
		t.Errorf("it stays paused: %+v, %v", standing, err)
	}
	// Reached already: nothing is done.
	rubbish = i.leaveRubbish()
	r = document[maintain.EmergencyResult](i, 0, "maintain", "emergency", "--yes", "--target", "99.99")
	if !r.Reached || r.PausedByUs || r.Steps[0].Skipped != "not needed" {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(rubbish); err != nil {
		t.Error(err)
	}
	i.run(cmdline.ExitUsage, "maintain", "emergency", "--target", "lots")
}

func TestAnEmergencyFreesFilesWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	i := newInstallation(t, "")
	rubbish := i.leaveRubbish()
	text, err := os.ReadFile(i.config)
	if err != nil {
		t.Fatal(err)
	}
	gone := strings.Replace(string(text), i.url, "postgres://noggin@127.0.0.1:1/x", 1) + "\n"
	gone = strings.Replace(gone, "[database]\n", "[database]\nretry_for = 0\nconnect_timeout = 1\n", 1)
	if err := os.WriteFile(i.config, []byte(gone), 0o600); err != nil {
		t.Fatal(err)
	}
	r := document[maintain.EmergencyResult](i, cmdline.ExitDatabase, "maintain", "emergency", "--yes", "--target", "0.001%")
	if !r.Steps[0].Done || !r.Steps[1].Done || !strings.HasPrefix(r.Steps[2].Skipped, "the database cannot be used") {
		t.Errorf("%+v", r.Steps)
	}
	if _, err := os.Stat(rubbish); !errors.Is(err, os.ErrNotExist) {
		t.Error("the unfinished file is still there")
	}
}

func TestAnEmergencyArchivesToAnotherVolume(t *testing.T) {
	t.Parallel()
	other, err := os.MkdirTemp("/dev/shm", "noggin-test-")
	if err != nil {
		t.Skip("there is no second volume here:", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(other) })
	i := newInstallation(t, "")
	release, err := i.db.Lock(t.Context(), "archive create")
	if err != nil {
		t.Fatal(err)
	}
	if _, stderr := i.run(cmdline.ExitLocked, "maintain", "emergency", "--yes", "--target", "0.001%"); !strings.Contains(stderr, "archive create") {
		t.Error(stderr)
	}
	release()
	r := document[maintain.EmergencyResult](i, cmdline.ExitPartial, "maintain", "emergency", "--yes", "--target", "0.001%", "--archive-to", other)
	if archive := r.Steps[3]; !archive.Done || archive.Error != "" {
		t.Errorf("%+v", archive)
	}
	var runs []storage.RunSummary
	if runs, err = i.db.RunsThis(t.Context(), "day", "maintain emergency"); err != nil || len(runs) != 1 || runs[0].ExitCode != cmdline.ExitPartial {
		t.Errorf("%+v, %v", runs, err)
	}
}

// An emergency is no reason to remove the only copy.
func TestAnEmergencyObeysRequireCopy(t *testing.T) {
	t.Parallel()
	other, err := os.MkdirTemp("/dev/shm", "noggin-test-")
	if err != nil {
		t.Skip("there is no second volume here:", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(other) })
	i := newInstallation(t, "[archive]\nrequire_copy = true\n")
	emergency := func() maintain.EmergencyStep {
		return document[maintain.EmergencyResult](i, cmdline.ExitPartial, "maintain", "emergency", "--yes", "--target", "0.001%", "--archive-to", other).Steps[3]
	}
	if step := emergency(); step.Done || !strings.Contains(step.Skipped, "noggin copy run") {
		t.Errorf("without a target: %+v", step)
	}
	if _, stderr := i.run(cmdline.ExitUsage, "archive", "create", "--older-than", "1d"); !strings.Contains(stderr, "noggin copy verify") {
		t.Error(stderr)
	}
}
