package files

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever may write into the input folder leads nothing elsewhere.
func TestATrayBelowItsTopFollowsNoLink(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	top, evidence := filepath.Join(base, "input"), filepath.Join(base, "evidence")
	for _, dir := range []string{top, evidence, filepath.Join(top, "other"), filepath.Join(top, "real", "deep")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"absolute": evidence, "relative": "../evidence", "inside": "other", "dangling": filepath.Join(base, "new"), "loop": "loop", "self": ".", "up": "..",
	} {
		if err := os.Symlink(target, filepath.Join(top, name)); err != nil {
			t.Fatal(err)
		}
		for _, folder := range []string{name, name + "/deep", "real/../" + name} {
			if tray, err := OpenTray(top, filepath.Join(top, folder)); err == nil {
				t.Errorf("%s -> %s leads to %s", folder, target, tray.Name())
			}
		}
	}
	if err := os.WriteFile(filepath.Join(top, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenTray(top, filepath.Join(top, "file")); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a file is told as %v", err)
	}
	for _, dir := range []string{filepath.Join(top, "other"), evidence, filepath.Join(base, "new")} {
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			t.Errorf("%s got %v", dir, entries)
		}
	}
	// What administrators configured elsewhere may be a link.
	if err := os.Symlink(evidence, filepath.Join(base, "processed")); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{filepath.Join(top, "made"), filepath.Join(top, "real", "deep"), filepath.Join(base, "processed"), filepath.Join(base, "made")} {
		tray, err := OpenTray(top, folder)
		if err != nil {
			t.Errorf("%s: %v", folder, err)
			continue
		}
		Release(tray)
	}
}

// A folder that is replaced while it is open stays the folder that it was.
func TestATrayStaysTheFolderThatWasOpened(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	top, evidence := filepath.Join(base, "input"), filepath.Join(base, "evidence")
	for _, dir := range []string{top, evidence} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	tray, err := OpenTray(top, filepath.Join(top, "processed"))
	if err != nil {
		t.Fatal(err)
	}
	defer Release(tray)
	if err := os.Rename(filepath.Join(top, "processed"), filepath.Join(top, "gone")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(evidence, filepath.Join(top, "processed")); err != nil {
		t.Fatal(err)
	}
	upload := filepath.Join(top, "tips.csv")
	if err := os.WriteFile(upload, []byte("tips"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tray.Take(upload, "tips.csv"); err != nil {
		t.Fatal(err)
	}
	staged, err := tray.Stage(FileMode)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := staged.Place("rejected.csv"); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(evidence); err != nil || len(entries) > 0 {
		t.Errorf("the evidence got %v, %v", entries, err)
	}
	if entries, err := os.ReadDir(filepath.Join(top, "gone")); err != nil || len(entries) != 2 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}

func TestAFolderIntoWhichOthersWriteKeepsNothing(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	folder := filepath.Join(top, "processed")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	kept := func(mode os.FileMode) error {
		err := os.Chmod(folder, mode)
		info, statErr := os.Stat(folder)
		if err := errors.Join(err, statErr); err != nil {
			t.Fatal(err)
		}
		return KeptFromOthers(top, folder, info)
	}
	for mode, ok := range map[os.FileMode]bool{0o700: true, 0o755: true, 0o775: false, 0o757: false} {
		if err := kept(mode); (err == nil) != ok {
			t.Errorf("%o: %v", mode, err)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("only root gives folders away")
	}
	if err := os.Chown(folder, 65534, -1); err != nil {
		t.Fatal(err)
	}
	if err := kept(0o755); err == nil || !strings.Contains(err.Error(), "who could exchange the files in it") {
		t.Errorf("the folder of somebody else: %v", err)
	}
	if err := os.Chown(top, 65534, -1); err != nil {
		t.Fatal(err)
	}
	if err := kept(0o755); err != nil {
		t.Errorf("the folder of the owner of the one above: %v", err)
	}
}
