package health

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/dustin/go-humanize"

	"noggin/storage"
)

// Copies is how far the copies in a target are.
type Copies struct {
	storage.CopyTarget
	// Percent is the share of the database's files that is copied.
	Percent float64 `json:"percent"`
}

const (
	copiesPatience = 26 * time.Hour // a file may wait for its copy so long
	// VerifiedPatience is how old the verification of a copy may be. Each is verified every week.
	VerifiedPatience = 15 * 24 * time.Hour
)

// ReadCopies reads how far the copies are in each target.
func ReadCopies(ctx context.Context, db *storage.DB) ([]Copies, error) {
	targets, err := db.CopyTargets(ctx)
	if err != nil || len(targets) == 0 {
		return []Copies{}, err
	}
	files, err := db.FilesToHave(ctx)
	all := make([]Copies, len(targets))
	for i, t := range targets {
		all[i] = Copies{CopyTarget: t, Percent: percent(t.Files, files)}
	}
	return all, err
}

// percent is rounded down: 100 means all.
func percent(copied, files int64) float64 {
	if files <= copied {
		return 100
	}
	return math.Floor(1000*float64(copied)/float64(files)) / 10
}

// judgeCopies finds that files are not copied in time, that copies are lost or damaged,
// or that nobody looks whether they are.
func judgeCopies(c Copies, now time.Time) (flags []Flag) {
	if c.Damaged > 0 {
		flags = append(flags, red("copies_damaged", copiesText(c.Damaged)+" in "+c.Name()+" missing or damaged",
			"`noggin copy run` copies them again, from the originals or the archives"))
	}
	if c.DueSince != nil && now.Sub(*c.DueSince) > copiesPatience {
		what := fmt.Sprintf("%s to be copied to %s, the oldest for %s", Plural(c.Due, "file waits|files wait"), c.Name(), duration(now.Sub(*c.DueSince)))
		if c.Failing > 0 {
			what += "; " + humanize.Comma(c.Failing) + " could not be copied at the last try"
		}
		flags = append(flags, red("copies_late", what, "`noggin copy run` says why; `noggin validate copy` tries the target"))
	}
	if c.VerifiedSince != nil && now.Sub(*c.VerifiedSince) > VerifiedPatience {
		flags = append(flags, yellow("copies_unverified", "copies in "+c.Name()+" were not verified for "+duration(now.Sub(*c.VerifiedSince)),
			"`noggin copy verify`; does its timer run? `systemctl list-timers noggin-copy-verify.timer`"))
	}
	return flags
}

func copiesText(n int64) string { return Plural(n, "copy|copies") }
