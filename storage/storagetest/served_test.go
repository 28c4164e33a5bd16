package storagetest

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTimeInWhichTheProcessIsServedCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		time.AfterFunc(time.Minute, func() { close(ended) })
		if served := Served(ended); served != time.Minute {
			t.Errorf("it was served for %s", served)
		}
	})
}
