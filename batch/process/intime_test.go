package process

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"noggin/batch/forms"
	"noggin/storage"
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

// What a run does behind its records ends with its time as well, whatever the database does.
func TestHealingAndFillingEndWithTheTimeOfTheRun(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	cfg := storage.DefaultConfig()
	cfg.URL, cfg.RetryFor = "postgres://noggin@"+silent.Addr().String()+"/noggin?sslmode=disable", time.Minute
	db, err := storage.Open(cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	p := &Processor{DB: db, Processing: Config{StopGrace: time.Minute}, Types: &forms.ObjectTypes{}, Log: slog.New(slog.DiscardHandler)}
	const limit = time.Minute
	longAgo := time.Now().Add(-time.Hour)
	for name, do := range map[string]func(){
		"healing": func() { p.heal(t.Context(), 1, Options{MaxTime: limit}, longAgo) },
		"filling": func() { p.fillSearch(t.Context(), storage.Standing{SearchFill: true}, limit, longAgo) },
	} {
		began := time.Now()
		if do(); time.Since(began) > 20*time.Second {
			t.Errorf("%s took %s", name, time.Since(began))
		}
	}
}
