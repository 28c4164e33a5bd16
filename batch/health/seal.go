package health

import (
	"time"

	"noggin/storage"
)

const (
	// sealPatience is how long a record may wait to be sealed: a timer seals every night.
	sealPatience = 3 * 24 * time.Hour
	// newLogMemory is how long the beginning of a new log is told.
	newLogMemory = 14 * 24 * time.Hour
)

// judgeSeal finds that nothing is sealed although records wait, that a checkpoint stays
// with us, or that a new log began. Where sealing never began, nothing is judged.
func judgeSeal(v *Vitals) (flags []Flag) {
	s := v.Sealed
	if s.Logs == 0 {
		return nil
	}
	if s.DueSince != nil && v.Now.Sub(*s.DueSince) > sealPatience {
		flags = append(flags, red("seal_old", sealDue(s)+" to be sealed, the oldest for "+duration(v.Now.Sub(*s.DueSince)),
			"`noggin seal` says why; does its timer run? `systemctl list-timers noggin-seal.timer`"))
	}
	if s.PublishError != nil {
		flags = append(flags, yellow("seal_unpublished", "the last checkpoint was not given to anybody: "+*s.PublishError,
			"mend the command of [seal] publish; `noggin seal` tries it again"))
	}
	if s.Reason != "" && s.BegunAt != nil && v.Now.Sub(*s.BegunAt) < newLogMemory {
		flags = append(flags, yellow("seal_new_log", "a new log of sealed records, "+s.Origin+", began on "+s.BegunAt.Format(time.DateOnly)+": "+s.Reason,
			"`noggin validate evidence` shows what the old one still proves; tell whoever keeps its checkpoints"))
	}
	return flags
}

// sealDue is "3 records wait", or that there are many.
func sealDue(s storage.SealState) string {
	text := Plural(s.Due, "record waits|records wait")
	if s.Due == storage.SealDueMost {
		text = "over " + text
	}
	return text
}
