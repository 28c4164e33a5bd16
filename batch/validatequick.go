package batch

import (
	"context"
	"fmt"
	"time"
)

// Quick looks at what an hourly alert has to know, in well under a second: disk,
// and what the dashboard's flags tell of database, queue, circuit and last runs.
// disk tells whether to look at the volumes, which the configuration's check does
// too.
func (v *Validator) Quick(ctx context.Context, disk bool) (*Area, error) {
	a := NewArea("quick")
	if disk {
		v.Disk(a)
	}
	v.checkOutput(a, (*Output).Check)
	return a, a.Done(ctx, v.quick(ctx, a))
}

func (v *Validator) quick(ctx context.Context, a *Area) error {
	standing, err := v.DB.Standing(ctx)
	if err != nil {
		return err
	}
	zone, err := v.Config.Location()
	if err != nil {
		return err
	}
	vitals, err := ReadVitals(ctx, v.DB, standing, v.Config.Paths.Output, zone)
	if err != nil {
		return err
	}
	a.Fact(dueText(vitals.Queue.Due, vitals.Queue.DueAtLeast) + " due, circuit " + standing.State)
	severities := map[string]string{SeverityRed: SeverityError, SeverityYellow: SeverityWarning}
	for _, flag := range vitals.Flags(v.Config.Paths.Output) {
		if flag.Name == flagDiskFull || flag.Name == flagNoOutput { // told with the volumes
			continue
		}
		a.Add(Finding{Severity: severities[flag.Severity], Check: flag.Name, Message: flag.What, Remedy: flag.Remedy, Count: 1})
	}
	return nil
}

// duration is a length of time for people: "3 h 20 min", "2 days".
func duration(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
}
