package validate

import (
	"context"

	"noggin/batch/archive/watch"
	"noggin/batch/files"
	"noggin/batch/health"
)

// Quick checks what an hourly alert needs, in well under a second: the disk and the
// dashboard's flags for database, queue, circuit, archives and last runs. It records which
// archives this host sees, for the other hosts. disk says whether to
// check the volumes; the area configuration checks them too.
func (v *Validator) Quick(ctx context.Context, disk bool) (*Area, error) {
	a := NewArea("quick")
	if disk {
		v.Disk(a)
	}
	v.checkOutput(a, (*files.Output).Check)
	return a, a.Done(ctx, v.quick(ctx, a))
}

func (v *Validator) quick(ctx context.Context, a *Area) error {
	standing, err := v.DB.Standing(ctx)
	if err != nil {
		return err
	}
	vitals, err := health.ReadVitals(ctx, v.DB, standing, v.Paths, v.Location)
	if err != nil {
		return err
	}
	a.Fact(health.DueText(vitals.Queue.Due, vitals.Queue.DueAtLeast) + " due, circuit " + string(standing.State))
	v.recordSeen(ctx, vitals.Archives)
	severities := map[string]string{health.SeverityRed: SeverityError, health.SeverityYellow: SeverityWarning}
	for _, flag := range vitals.Flags() {
		if flag.Name == health.FlagDiskFull || flag.Name == health.FlagNoOutput { // Disk and checkOutput report them
			continue
		}
		a.Add(Finding{Severity: severities[flag.Severity], Check: flag.Name, Message: flag.What, Remedy: flag.Remedy, Count: 1})
	}
	return nil
}

// recordSeen records which archives this host sees whole. Where it cannot, such as on a
// standby, the look goes on.
func (v *Validator) recordSeen(ctx context.Context, archives []watch.Archive) {
	var seen []int64
	for _, a := range archives {
		if a.Sight == watch.There {
			seen = append(seen, a.ID)
		}
	}
	if len(seen) == 0 {
		return
	}
	if err := v.DB.SawArchives(ctx, seen); err != nil {
		v.Log.Warn("which archives are there could not be recorded", "error", err)
	}
}
