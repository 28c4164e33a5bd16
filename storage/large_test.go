package storage

import (
	"fmt"
	"testing"
	"time"
)

func TestARecordOfSixtyThousandAttachmentsIsStoredInSeconds(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	c := claim(t, db, 1, 1)[0]
	a := answer(c)
	a.Attachments = nil
	for i := range 60_000 {
		a.Attachments = append(a.Attachments, PlannedAttachment{Tip: fmt.Sprintf("%s%05d", UnusablePrefix, i), Field: "attachments"})
	}
	for range 2 {
		began := time.Now()
		stored, err := db.Store(t.Context(), 1, []Answer{a})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(stored[ClaimKey{c.Tip, c.Token}].Attachments); n != len(a.Attachments) {
			t.Errorf("%d attachments", n)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("it took %s", took)
		}
		a.Attachments = a.Attachments[:30_000] // the platform mends half of them
	}
}
