package commands

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// importDrill is a drill with one long file of tips in its input folder.
func importDrill(t *testing.T, rows int) (d *drill, path string) {
	t.Helper()
	d = newDrill(t, 1, "")
	if _, err := d.sql.Exec(`DELETE FROM noggin_schema.noggin_data`); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(d.folder, "input", "tips.csv")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	text := []byte("tip\n")
	for i := range rows {
		text = fmt.Appendf(text, "%016x%048x\n", uint64(i)*0x9e3779b97f4a7c15, i)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	return d, path
}

// signalledImport runs import-csv and signals it as soon as something is imported;
// it returns the exit code.
func (d *drill) signalledImport(signal syscall.Signal) int {
	d.t.Helper()
	cmd, done := d.start("import-csv")
	for d.count(`SELECT count(*) FROM noggin_schema.record_totals`) == 0 {
		select {
		case <-done:
			d.t.Fatalf("the import ended by itself: %s", d.logs.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
	if err := cmd.Process.Signal(signal); err != nil {
		d.t.Fatal(err)
	}
	<-done
	return cmd.ProcessState.ExitCode()
}

func TestASignalledImportLeavesTheFileToTheNextRun(t *testing.T) {
	t.Parallel()
	const rows = 40_000
	for name, test := range map[string]struct {
		signal syscall.Signal
		code   int
	}{
		"killed":     {syscall.SIGKILL, -1},
		"terminated": {syscall.SIGTERM, ExitInterrupted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, path := importDrill(t, rows)
			if code := d.signalledImport(test.signal); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if n := d.count(`SELECT count(*) FROM noggin_schema.noggin_data`); n == 0 || n == rows {
				t.Errorf("%d records after the signal: not in the middle", n)
			}
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
			d.mustRun("import-csv")
			if n := d.count(`SELECT count(*) FROM noggin_schema.noggin_data`); n != rows {
				t.Errorf("%d records, want %d", n, rows)
			}
			if n := d.count(`SELECT sum(records) FROM noggin_schema.record_totals`); n != rows {
				t.Errorf("%d records are counted, want %d", n, rows)
			}
			if _, err := os.Stat(filepath.Join(d.folder, "input", "processed", "tips.csv")); err != nil {
				t.Error(err)
			}
		})
	}
}
