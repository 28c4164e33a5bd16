package storage

import (
	"cmp"
	"time"
)

// lookBack is how long a run takes records from where it is in the queue before it looks
// at the whole queue again. Dead runs' records have waited as long, for their lease.
const lookBack = 2 * time.Minute

// Reached is how far a run is in the queue. While any session holds a snapshot, the
// queue's indexes keep an entry of every record that was taken since. A claim that begins
// at the first entry reads them all, so [DB.Claim] begins where the run's last claim
// ended. Records may become due or free behind that. Claim finds them when it begins at
// the first entry again: every lookBack, and when there is too little ahead. The zero
// value is a run that has claimed nothing.
type Reached struct {
	position
	looked time.Time // when a claim last began at the first entry
}

// position is a place in each of the queue's indexes; nil: the first entry.
type position struct {
	Retry   *string `db:"reached_retry"`   // next_retry_at
	Fresh   *int64  `db:"reached_fresh"`   // queue_order
	Refresh *string `db:"reached_refresh"` // due_at
}

// start returns where the next claim begins. It may be behind the first entry.
func (r *Reached) start() position {
	if time.Since(r.looked) >= lookBack {
		r.position, r.looked = position{}, time.Now()
	}
	return r.position
}

// advance notes what a claim reached. short says that it found fewer records than wanted,
// so that the next one begins at the first entry.
func (r *Reached) advance(to position, short bool) {
	if short {
		*r = Reached{}
		return
	}
	r.Retry, r.Fresh, r.Refresh = cmp.Or(to.Retry, r.Retry), cmp.Or(to.Fresh, r.Fresh), cmp.Or(to.Refresh, r.Refresh)
}
