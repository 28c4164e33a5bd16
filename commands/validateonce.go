package commands

import (
	"context"
	"encoding/json"

	"noggin/storage"
)

// leaveOut notes which areas a run of today with --once, on any host, has looked at:
// those that are the same from everywhere. It waits for one that is at it.
func (v *validation) leaveOut(ctx context.Context, db *storage.DB) (release func(), err error) {
	release, err = db.Turn(ctx, "validate")
	if err != nil {
		return nil, err
	}
	runs, err := db.RunsThis(ctx, "day", v.command())
	if err != nil {
		release()
		return nil, err
	}
	v.result.Once = true
	v.earlier = map[string]string{}
	for _, run := range runs {
		var earlier validateResult
		if json.Unmarshal(run.Summary, &earlier) != nil || !earlier.Once {
			continue
		}
		for _, area := range earlier.Areas {
			if area.Checked && (area.Name == areaData || area.Name == areaFiles) {
				v.earlier[area.Name] = "looked at by " + run.Host + " at " + run.Finished.Format("15:04") + " already"
			}
		}
	}
	return release, nil
}
