package storagetest

import "time"

// Served returns, once ended is closed, for how long this process was served since the call.
// A busy machine serves it late: of that time hardly anything counts. So a limit of time tells
// on a slow machine what it tells on a fast one.
func Served(ended <-chan struct{}) (served time.Duration) {
	const step = 5 * time.Millisecond
	look := time.NewTicker(step)
	defer look.Stop()
	for last := time.Now(); ; {
		over := false
		select {
		case <-ended:
			over = true
		case <-look.C:
		}
		now := time.Now()
		served += min(now.Sub(last), 2*step)
		if last = now; over {
			return served
		}
	}
}
