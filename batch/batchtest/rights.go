package batchtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// RanWithoutRights runs the test again in a process that may not read every file, if this
// one may, as root does. It tells whether it did so, and reports what failed there.
func RanWithoutRights(t *testing.T) bool {
	t.Helper()
	closed := filepath.Join(t.TempDir(), "closed")
	Must(t, os.WriteFile(closed, nil, 0))
	if _, err := os.ReadFile(closed); err != nil {
		return false
	}
	const rights = "-dac_override,-dac_read_search"
	again := exec.CommandContext(t.Context(), "setpriv", "--bounding-set="+rights, "--inh-caps="+rights, os.Args[0], "-test.run=^"+t.Name()+"$")
	if output, err := again.CombinedOutput(); err != nil {
		t.Errorf("without the rights of root: %v\n%s", err, output)
	}
	return true
}
