package claims_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/claims"
	"noggin/storage"
)

// keeperOf is a keeper of a run of its own, and the tips of all records.
func keeperOf(t *testing.T, m *batchtest.Mirror, lease time.Duration) (k *claims.Keeper, tips []string) {
	t.Helper()
	run, err := m.DB.StartRun(t.Context(), "archive create", "")
	batchtest.Must(t, err)
	for record := range m.Server.Records() {
		tips = append(tips, record.Tip)
	}
	return claims.NewKeeper(m.DB, m.Log, run, lease), tips
}

func threeRecords(t *testing.T) *batchtest.Mirror {
	t.Helper()
	return batchtest.NewQueue(t, apitest.Options{Records: 3, Forms: []string{"LCD"}, Photos: apitest.None})
}

const (
	claimed = `SELECT count(claimed_by) FROM noggin_schema.noggin_data`
	expires = `SELECT min(claim_expires_at)::text FROM noggin_schema.noggin_data` // of the one that ends first
)

func TestAKeeperTakesWhatNoRunHasAndGivesItBack(t *testing.T) {
	t.Parallel()
	m := threeRecords(t)
	k, tips := keeperOf(t, m, time.Minute)
	other, err := m.DB.StartRun(t.Context(), "process", "")
	batchtest.Must(t, err)
	_, err = m.DB.ClaimTips(t.Context(), other, tips[:1], "", time.Hour)
	batchtest.Must(t, err)
	m.Execute(`UPDATE noggin_schema.noggin_data SET processing_status = 'complete' WHERE tip = '` + tips[1] + `'`)
	for _, test := range []struct {
		status storage.Status
		want   []string
	}{{"", tips[1:]}, {storage.StatusComplete, tips[1:2]}, {storage.StatusFailed, nil}} {
		held, err := k.Take(t.Context(), tips, test.status)
		if err != nil || len(held) != len(test.want) {
			t.Errorf("with the status %q taken are %v, %v; want %q", test.status, held, err, test.want)
		}
		for _, tip := range test.want {
			c := held[tip]
			stored := m.Value(`SELECT concat_ws(' ', tip, claimed_by, claim_token, claim_expires_at > now() AND claim_expires_at <= now() + interval '1 minute')
				FROM noggin_schema.noggin_data WHERE tip = '` + tip + `'`)
			if want := fmt.Sprintf("%s %d %d t", c.Tip, k.Run, c.Token); stored != want {
				t.Errorf("the claim is %q, want %q", stored, want)
			}
		}
		ended, cancel := context.WithCancel(t.Context()) // as after a signal
		cancel()
		k.GiveBack(ended)
		if n := m.Value(claimed); n != "1" {
			t.Errorf("%s records are claimed, want that of the other run", n)
		}
	}
}

// A group may take longer than its claims hold, and the database may be away meanwhile.
func TestAKeeperRenewsTheGroupThatItHas(t *testing.T) {
	t.Parallel()
	m := threeRecords(t)
	told := make(telling, 100)
	m.Log = slog.New(slog.NewTextHandler(told, nil))
	k, tips := keeperOf(t, m, time.Second)
	renewing, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.Keep(renewing)
	}()
	isRenewed := func() {
		t.Helper()
		taken := m.Value(expires)
		for until := time.Now().Add(30 * time.Second); m.Value(expires) <= taken; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("the claims are not renewed")
			}
		}
	}
	for _, group := range [][]string{tips[:1], tips[1:]} {
		if held, err := k.Take(t.Context(), group, ""); err != nil || len(held) != len(group) {
			t.Fatal(held, err)
		}
		isRenewed()
		k.GiveBack(t.Context())
	}
	_, err := k.Take(t.Context(), tips, "")
	batchtest.Must(t, err)
	m.Execute(`ALTER TABLE noggin_schema.noggin_data RENAME TO away`)
	told.wait(t, "cannot renew the claims")
	m.Execute(`ALTER TABLE noggin_schema.away RENAME TO noggin_data`)
	isRenewed()
	stop()
	<-ended
	m.Execute(`ALTER TABLE noggin_schema.noggin_data RENAME TO away`)
	k.GiveBack(t.Context())
	told.wait(t, "they end with their lease")
}

// telling is where a test reads the lines of a log.
type telling chan string

func (c telling) Write(line []byte) (int, error) {
	select {
	case c <- string(line):
	default: // nobody reads
	}
	return len(line), nil
}

func (c telling) wait(t *testing.T, what string) {
	t.Helper()
	for {
		select {
		case line := <-c:
			if strings.Contains(line, what) {
				return
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("the log does not say %q", what)
		}
	}
}
