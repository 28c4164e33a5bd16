package commands

import (
	"testing"

	"noggin/batch/export"
	"noggin/commands/cmdline"
	"noggin/commands/session"
)

func TestAnExportThatLacksSomethingEndsWith3(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		summary export.Summary
		want    int
	}{
		{export.Summary{Selected: 2, Records: 2}, cmdline.ExitDone},
		{export.Summary{}, cmdline.ExitPartial},
		{export.Summary{Selected: 2, Records: 2, ProblemCount: 1}, cmdline.ExitPartial},
		{export.Summary{Selected: 2, Records: 2, Unanswered: 1}, cmdline.ExitPartial},
		{export.Summary{Selected: 2, Records: 1, Gone: 1}, cmdline.ExitPartial},
	} {
		if got := session.ExitCode(t.Context(), notExported(c.summary)); got != c.want {
			t.Errorf("%+v: %d, want %d", c.summary, got, c.want)
		}
	}
}
