package maintain

import (
	"bytes"
	"testing"
	"time"

	"noggin/batch/maintain"
	"noggin/commands/show"
)

func TestEarlierStepsAreToldInTheSitesZone(t *testing.T) {
	t.Parallel()
	var printed bytes.Buffer
	summary := maintain.Summary{Steps: []maintain.StepResult{
		{Step: "analyze", OK: true, Earlier: true, StartedAt: time.Date(2025, 9, 13, 20, 30, 0, 0, time.UTC), Effect: "analysed 18 tables"},
	}}
	if err := printSteps(summary, time.FixedZone("AWST", 8*60*60), show.Output{Writer: &printed, Format: show.Text}); err != nil {
		t.Fatal(err)
	}
	want := "Step     Result                    Took  Effect\nanalyze  done 2025-09-14 04:30:00   0 s  analysed 18 tables\n"
	if printed.String() != want {
		t.Errorf("got\n%swant\n%s", printed.String(), want)
	}
}
