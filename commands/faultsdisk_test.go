package commands

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/commands/cmdline"
)

// uncounted checks that no record was burnt and none is held.
func (d *drill) uncounted() {
	d.t.Helper()
	if n := d.count(`SELECT count(*) FROM noggin_schema.noggin_data WHERE retry_count > 0 OR permanently_failed OR claimed_by IS NOT NULL`); n > 0 {
		d.t.Errorf("%d records were counted against or are still claimed", n)
	}
}

// says checks what the processes have told the operator.
func (d *drill) says(want string) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !strings.Contains(d.logs.String(), want) {
		d.t.Errorf("stderr does not say %q:\n%s", want, tail(d.logs.String(), 2000))
	}
}

func (d *drill) noTemporaryFiles() {
	d.t.Helper()
	left, err := os.ReadDir(filepath.Join(d.folder, "output", ".noggin-tmp"))
	if err != nil || len(left) > 0 {
		d.t.Errorf("temporary files are left: %v, %v", left, err)
	}
}

func TestAFullDiskStopsTheRunAndNothingIsLost(t *testing.T) {
	t.Parallel()
	d := newDrill(t, sized(60, 300), "")
	output := filepath.Join(d.folder, "output")
	if err := syscall.Mount("tmpfs", output, "tmpfs", 0, "size=800k"); err != nil {
		t.Skipf("no small volume can be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(output, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	// The bare volume is not yet an output folder.
	if code := d.run("process", "--until-empty", "--quiet"); code != cmdline.ExitFailed {
		t.Errorf("without the marker: exit code %d", code)
	}
	if n := d.api.Stats().Requests; n > 0 {
		t.Errorf("%d requests without the marker", n)
	}
	d.mustRun("init-db")
	for range 3 { // the later ones find it full before they ask for anything, or soon after
		if code := d.run("process", "--until-empty", "--quiet"); code != cmdline.ExitFailed {
			t.Errorf("on a full disk: exit code %d", code)
		}
		d.uncounted()
		d.noTemporaryFiles()
	}
	d.says("free space on that volume and run again, nothing is lost")
	if err := syscall.Mount("tmpfs", output, "tmpfs", syscall.MS_REMOUNT, "size=100m"); err != nil {
		t.Fatal(err)
	}
	d.finishOff()
	d.verify()
	d.noTemporaryFiles()
}

func TestAnOutputFolderThatGoesAwayComesBack(t *testing.T) {
	t.Parallel()
	d := newDrill(t, 40, "concurrency = 2")
	d.api.AddFault(apitest.Fault{Kind: "delay", Delay: 20 * time.Millisecond})
	output, aside := filepath.Join(d.folder, "output"), filepath.Join(d.folder, "aside")
	cmd, done := d.start("process", "--until-empty", "--quiet")
	for d.api.Stats().Requests < 10 {
		time.Sleep(5 * time.Millisecond)
	}
	if err := os.Rename(output, aside); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(output, 0o755); err != nil { // the bare mount point
		t.Fatal(err)
	}
	<-done
	if code := cmd.ProcessState.ExitCode(); code != cmdline.ExitFailed {
		t.Errorf("exit code %d", code)
	}
	if code := d.run("process", "--until-empty", "--quiet"); code != cmdline.ExitFailed {
		t.Errorf("the next run: exit code %d", code)
	}
	d.says("mount its volume")
	d.uncounted()
	if err := os.Remove(output); err != nil { // only an empty folder can be removed
		t.Errorf("something was written to the bare mount point: %v", err)
	}
	if err := os.Rename(aside, output); err != nil {
		t.Fatal(err)
	}
	d.finishOff()
	d.verify()
	d.noTemporaryFiles()
}
