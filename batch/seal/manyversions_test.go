package seal

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"noggin/batch/batchtest"
	"noggin/storage"
)

// newManyVersions is a mirror of two records, each with its leaf. Then the one with the
// first leaf gets n earlier answers, which are sealed too.
func newManyVersions(t *testing.T, n int) (s *sealed, tips []string) {
	t.Helper()
	s = newSealed(t, 2)
	s.seal()
	tips = strings.Fields(s.Value(`SELECT string_agg(record_tip, ' ' ORDER BY position) FROM noggin_schema.seal_leaves`))
	for i := range n {
		answer := fmt.Appendf(nil, `{"answer": %d}`, i)
		sum := sha256.Sum256(answer)
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, err := w.Write(answer)
		batchtest.Must(s.T, err)
		batchtest.Must(s.T, w.Close())
		s.Execute(fmt.Sprintf(`INSERT INTO noggin_schema.record_versions (record_tip, version, kind, sid, payload_sha256, answer, size_bytes, hash_sha256)
			VALUES ('%s', %d, 'version', 'sid %[2]d', '\x%s', '\x%s', %d, '%[3]s')`, tips[0], i+2, hex.EncodeToString(sum[:]), hex.EncodeToString(packed.Bytes()), len(answer)))
	}
	s.Execute(`INSERT INTO noggin_schema.seal_due AS s (record_tip) VALUES ('` + tips[0] + `') ON CONFLICT (record_tip) DO UPDATE SET marks = s.marks + 1`)
	if got := s.seal(); got.Leaves != int64(n) {
		s.T.Fatalf("of %d versions: %+v", n, got)
	}
	return s, tips
}

// counting opens the database so that each read of versions is counted.
func (s *sealed) counting() (db *storage.DB, reads *atomic.Int64) {
	s.T.Helper()
	db, proxy := s.through("validate")
	reads = &atomic.Int64{}
	proxy.LoseReply(func(statement string) bool {
		if strings.Contains(statement, "FROM noggin_schema.record_versions v JOIN") {
			reads.Add(1)
		}
		return false
	})
	return db, reads
}

// The tests have two leaves to a page: the versions of one record are on many pages.
func TestARecordIsReadOnceHoweverManyVersionsItHas(t *testing.T) {
	t.Parallel()
	const more = 9
	s, _ := newManyVersions(t, more)
	var reads *atomic.Int64
	s.DB, reads = s.counting()
	area := s.look()
	if len(area.Findings) > 0 || reads.Load() != 1 {
		t.Errorf("the versions of two records were read %d times, found %+v", reads.Load(), area.Findings)
	}
	attachments := s.Value(`SELECT count(*) FROM noggin_schema.attachments`)
	if facts := strings.Join(area.Facts, "\n"); !strings.Contains(facts, "11 leaves") || !strings.Contains(facts, attachments+" files on disk as the log says") {
		t.Errorf("%s attachments, facts %q", attachments, facts)
	}
}

func TestTheFirstExamplesAreThoseOfTheLowestPositions(t *testing.T) {
	t.Parallel()
	const more = 9
	s, _ := newManyVersions(t, more)
	s.Execute(`UPDATE noggin_schema.record_versions SET sid = 'another'`)
	got := finding(s.look(), "body")
	var at []string
	for _, example := range got.Examples {
		at = append(at, strings.Fields(example)[2])
	}
	if got.Count != more+2 || !slices.Equal(at, []string{"0,", "1,", "2,", "3,", "4,"}) {
		t.Errorf("%d, at %q: %+v", got.Count, at, got)
	}
}

// Nothing that stands in a leaf keeps the other leaves of its record from being compared.
func TestADamagedLeafHidesNoOtherOfItsRecord(t *testing.T) {
	t.Parallel()
	const more = 5
	s, tips := newManyVersions(t, more)
	s.backUp()
	s.Execute(`UPDATE noggin_schema.record_versions SET fetched_at = fetched_at - interval '90 days' WHERE version = 4`)
	for name, one := range map[string]struct{ change, check string }{
		"nothing":                                {`SELECT`, "time"},
		"its first leaf cannot be read":          {`UPDATE noggin_schema.seal_leaves SET leaf = '{}' WHERE position = 0`, "leaf"},
		"its first leaf is that of a log":        {`UPDATE noggin_schema.seal_leaves SET leaf = '` + logLeaf{Format: leafFormat, Kind: kindLog}.text() + `' WHERE position = 0`, "checkpoint"},
		"its first leaf is said to be another's": {`UPDATE noggin_schema.seal_leaves SET record_tip = '` + tips[1] + `' WHERE position = 0`, "leaf_column"},
		"another's leaf is said to be its own":   {`UPDATE noggin_schema.seal_leaves SET record_tip = '` + tips[0] + `' WHERE position = 1`, "leaf_column"},
		"all are said to be another's":           {`UPDATE noggin_schema.seal_leaves SET record_tip = '` + tips[1] + `'`, "leaf_column"},
		"there is a leaf of a log that is none": {`ALTER TABLE noggin_schema.seal_leaves DROP CONSTRAINT seal_leaves_log_id_fkey, DROP CONSTRAINT seal_leaves_position_check;
			INSERT INTO noggin_schema.seal_leaves SELECT o.log, o.position, record_tip, claim, leaf FROM noggin_schema.seal_leaves l, (VALUES (0, 0), (1, -1)) AS o (log, position) WHERE l.position = 0`, "time"},
	} {
		s.Execute(one.change)
		area := s.look()
		for _, check := range []string{"time", one.check} {
			if finding(area, check).Count == 0 {
				t.Errorf("%s: no %s among %+v", name, check, area.Findings)
			}
		}
		s.restore()
	}
}
