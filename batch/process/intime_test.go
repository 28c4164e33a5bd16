package process

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestARunWhoseDiskHangsIsLeftBehind(t *testing.T) {
	const maxTime, grace = time.Minute, 30 * time.Second
	for name, test := range map[string]struct {
		maxTime, signalAfter, hangs time.Duration // 0: none, for ever
		ends                        time.Duration
		behind                      bool
	}{
		"max-time":                {maxTime: maxTime, ends: maxTime + grace + hangTime, behind: true},
		"a signal":                {signalAfter: time.Hour, ends: time.Hour + grace + hangTime, behind: true},
		"it ends in the grace":    {maxTime: maxTime, hangs: maxTime + grace, ends: maxTime + grace},
		"it ends by itself":       {maxTime: maxTime, hangs: time.Second, ends: time.Second},
		"it has no limit of time": {hangs: 24 * time.Hour, ends: 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, signal := context.WithCancel(t.Context())
				defer signal()
				if test.signalAfter > 0 {
					time.AfterFunc(test.signalAfter, signal)
				}
				hung := make(chan struct{})
				defer close(hung)
				p := &Processor{Processing: Config{StopGrace: grace}}
				began := time.Now()
				s, err := p.inTime(ctx, test.maxTime, func() (Summary, error) {
					if test.hangs > 0 {
						time.Sleep(test.hangs)
					} else {
						<-hung
					}
					return Summary{RunID: 1}, nil
				})
				if took := time.Since(began); took != test.ends || errors.Is(err, errHangs) != test.behind || (s.RunID == 0) != test.behind {
					t.Errorf("it ended after %s with %+v, %v", took, s, err)
				}
			})
		})
	}
}
