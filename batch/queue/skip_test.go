package queue_test

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/queue"
	"noggin/storage"
)

// More records than are listed, skipped or brought back at once.
func TestManyRecordsAreSkippedAndBroughtBackAsTheyWere(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{})
	m.Execute(`INSERT INTO noggin_schema.noggin_data (tip, object_type, processing_status, retry_count, next_retry_at, last_error_message)
		SELECT md5(n::text), 'LCD', CASE WHEN n % 3 = 0 THEN 'pending' ELSE 'api_failed' END, n % 5, now() + n * interval '1 second', 'error ' || n
		FROM generate_series(1, 2001) n`)
	const skippedNow = `SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'skipped'`
	const state = `SELECT md5(string_agg(concat_ws(' ', tip, processing_status, retry_count, next_retry_at, last_error_message), ',' ORDER BY tip)) FROM noggin_schema.noggin_data`
	before := m.Value(state)
	var list bytes.Buffer
	all := storage.Selector{Statuses: []storage.Status{storage.StatusPending, storage.StatusAPIFailed}}
	if n, err := queue.WriteSkipList(t.Context(), m.DB, all, &list); n != 2001 || err != nil {
		t.Errorf("%d are listed, %v", n, err)
	}
	if counts, err := queue.CountSkipList(bytes.NewReader(list.Bytes())); err != nil || !maps.Equal(counts, map[storage.Status]int{storage.StatusPending: 667, storage.StatusAPIFailed: 1334}) {
		t.Errorf("%v, %v", counts, err)
	}
	var told []int
	progress := func(done int) { told = append(told, done) }
	if skipped, listed, err := queue.SkipListed(t.Context(), m.DB, bytes.NewReader(list.Bytes()), "moved", progress); skipped != 2001 || listed != 2001 || err != nil {
		t.Errorf("%d of %d are skipped, %v", skipped, listed, err)
	}
	if n := m.Value(skippedNow); n != "2001" || !slices.Equal(told, []int{1000, 2000, 2001}) {
		t.Errorf("%s are skipped, told %v", n, told)
	}
	// A list that is damaged near its end changes nothing.
	damaged := strings.NewReader(list.String() + "no tip,,,,,LCD,pending,0,,false,\n")
	if n, _, err := queue.UnskipListed(t.Context(), m.DB, damaged, nil); n != 0 || !errors.Is(err, queue.ErrNoSkipList) || !strings.Contains(err.Error(), "line 2003") || m.Value(skippedNow) != "2001" {
		t.Errorf("%d are brought back, %v", n, err)
	}
	told = nil
	if restored, listed, err := queue.UnskipListed(t.Context(), m.DB, bytes.NewReader(list.Bytes()), progress); restored != 2001 || listed != 2001 || err != nil {
		t.Errorf("%d of %d are brought back, %v", restored, listed, err)
	}
	if m.Value(state) != before || !slices.Equal(told, []int{1000, 2000, 2001}) {
		t.Errorf("they are not as they were; told %v", told)
	}
}
