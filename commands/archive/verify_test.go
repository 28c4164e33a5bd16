package archive

import (
	"strings"
	"testing"

	"noggin/batch/archive"
	"noggin/batch/archive/watch"
	"noggin/commands/cmdline"
	"noggin/storage"
)

func TestAVerificationTellsOfFoldersBesideBadArchives(t *testing.T) {
	t.Parallel()
	err := verifyVerdict(archive.Verification{
		Archives:  []archive.Verified{{}, {OK: true}},
		Unmounted: []watch.Archive{{Archive: storage.Archive{Path: "/mnt/old/noggin-2024-03.tar.zst"}, Why: "is not mounted"}},
	})
	if code, _ := cmdline.OwnCode(err); code != cmdline.ExitPartial {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"1 of 2 archives are not as they should be", "no archive was verified in 1 folder: /mnt/old is not mounted"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
	if hints := cmdline.Hints(err); len(hints) != 2 {
		t.Errorf("hints %q", hints)
	}
}
