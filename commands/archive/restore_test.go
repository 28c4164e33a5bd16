package archive

import (
	"testing"

	"noggin/batch/archive"
	"noggin/commands/cmdline"
)

func TestARestorationThatIsNotWholeExits3(t *testing.T) {
	for name, s := range map[string]archive.RestoreSummary{
		"nothing":               {},
		"a file is not held":    {Files: 3, NotHeld: 1},
		"all there but one":     {AlreadyThere: 3, NotHeld: 1},
		"nothing but not holds": {NotHeld: 2},
	} {
		if code, _ := cmdline.OwnCode(unrestored(s)); code != cmdline.ExitPartial {
			t.Errorf("%s: exit code %d", name, code)
		}
	}
	busy, differs := archive.RestoreSummary{Files: 3}, archive.RestoreSummary{Files: 3}
	busy.Busy, differs.LeftOutCount = 1, 1
	for name, s := range map[string]archive.RestoreSummary{"a record is busy": busy, "a file differs": differs} {
		if code, _ := cmdline.OwnCode(unrestored(s)); code != cmdline.ExitPartial {
			t.Errorf("%s: exit code %d", name, code)
		}
	}
	for name, s := range map[string]archive.RestoreSummary{"restored": {Files: 3}, "again": {AlreadyThere: 3}} {
		if err := unrestored(s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
