package seal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/process"
	"noggin/batch/validate"
)

// look checks the evidence, with checkpoints that somebody else has kept.
func (s *sealed) look(checkpoints ...string) *validate.Area {
	s.T.Helper()
	e := &Evidence{
		DB: s.DB, Paths: files.Paths{Output: s.Output, Checkpoints: s.sealer.Checkpoints}, Types: s.Types, Checkpoints: checkpoints,
		Archives: func(context.Context) (Archives, error) { return Archives{}, nil },
	}
	area, err := e.Area(s.T.Context())
	if err != nil {
		s.T.Fatal(err)
	}
	return area
}

// finding returns a finding of an area.
func finding(a *validate.Area, check string) validate.Finding {
	i := slices.IndexFunc(a.Findings, func(f validate.Finding) bool { return f.Check == check })
	if i < 0 {
		return validate.Finding{}
	}
	return a.Findings[i]
}

func checks(a *validate.Area) (names []string) {
	for _, f := range a.Findings {
		names = append(names, f.Check)
	}
	return names
}

// hold copies a checkpoint to where nobody here can write.
func (s *sealed) hold(path string) string {
	s.T.Helper()
	held := filepath.Join(s.T.TempDir(), filepath.Base(path))
	if err := os.WriteFile(held, []byte(read(s.T, path)), 0o600); err != nil {
		s.T.Fatal(err)
	}
	return held
}

// forge makes the log anew from the rows as they are now, with the log's own key, and
// leaves no trace of the old one here: what an attacker with all rights on database and
// disk can do.
func (s *sealed) forge() {
	s.T.Helper()
	if err := os.RemoveAll(s.sealer.Checkpoints); err != nil {
		s.T.Fatal(err)
	}
	s.Execute(`TRUNCATE noggin_schema.` + strings.Join(sealTables, `, noggin_schema.`))
	s.Execute(`INSERT INTO noggin_schema.seal_due (record_tip) SELECT tip FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`)
	s.seal()
}

// forgePhotograph changes a photograph together with its row.
func (s *sealed) forgePhotograph() {
	s.T.Helper()
	path := s.Value(`SELECT file_path FROM noggin_schema.attachments ORDER BY record_tip, attachment_tip LIMIT 1`)
	at := filepath.Join(s.Output, path)
	forged := []byte(strings.Replace(read(s.T, at), "\xff\xd9", "\xff\xd8", 1) + "\xff\xd9")
	if err := os.WriteFile(at, forged, 0o600); err != nil {
		s.T.Fatal(err)
	}
	sum := sha256.Sum256(forged)
	s.Execute(`UPDATE noggin_schema.attachments SET file_hash_sha256 = '` + hex.EncodeToString(sum[:]) + `', file_size_bytes = ` +
		strconv.Itoa(len(forged)) + ` WHERE file_path = '` + path + `'`)
}

func TestWhatIsAsItWasSealedIsProved(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 8)
	if got := checks(s.look()); !slices.Equal(got, []string{"nothing_sealed"}) {
		t.Errorf("before the first seal: %q", got)
	}
	first := s.hold(s.seal().Checkpoint)
	s.edit(3) // leaves former files and another version
	s.Server.Edit(s.Value(`SELECT max(tip) FROM noggin_schema.noggin_data`), apitest.Edit{Set: map[string]any{"jobNumber": "J-78"}})
	second := s.hold(s.seal().Checkpoint)
	s.Execute(`UPDATE noggin_schema.refreshes SET due_at = now()`)
	s.MustRun(process.Options{UntilEmpty: true, Refresh: true})
	// After a restore a version is fetched again, and later.
	s.Execute(`UPDATE noggin_schema.record_versions SET fetched_at = fetched_at + interval '90 days'`)
	area := s.look(first, second)
	if len(area.Findings) > 0 || !area.Checked {
		t.Errorf("found %+v", area.Findings)
	}
	if facts := strings.Join(area.Facts, "\n"); !strings.Contains(facts, "log example.com/inspections: 11 leaves, as in 6 checkpoints") ||
		!strings.Contains(facts, "waiting for the next `noggin seal`: 1 record") || !strings.Contains(facts, "files on disk as the log says, ") {
		t.Errorf("facts %q", facts)
	}
}

// What [seal] publish or a person puts beside the checkpoints under another name is none.
func TestOnlyTheNamesThatNogginGivesAreCheckpoints(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 2)
	at := s.seal().Checkpoint
	for _, end := range []string{".tsr", ".part", ".damaged", "x"} {
		if err := os.WriteFile(at+end, []byte("a time stamp"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if area := s.look(); len(area.Findings) > 0 {
		t.Errorf("found %+v", area.Findings)
	}
	s.edit(1)
	if got := s.seal(); got.Size != 3 || !got.Complete() {
		t.Errorf("%+v", got)
	}
}

// An archive that is marked as lost, by whomever, hides nothing that it holds.
func TestFilesOfALostArchiveAreTold(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 3)
	s.seal()
	s.Execute(`INSERT INTO noggin_schema.archives (name, path, month, state, lost_at, lost_reason) VALUES ('noggin-2025-03.tar.zst', '/gone', '2025-03', 'done', now(), 'the disk died')`)
	if area := s.look(); len(area.Findings) > 0 {
		t.Errorf("nothing is in it, and found is %+v", area.Findings)
	}
	s.Execute(`UPDATE noggin_schema.attachments SET archive_id = (SELECT id FROM noggin_schema.archives) WHERE record_tip = (SELECT min(record_tip) FROM noggin_schema.attachments)`)
	if f := finding(s.look(), "lost"); f.Count == 0 || f.Severity != validate.SeverityError || !strings.HasSuffix(f.Examples[0], " was lost with noggin-2025-03.tar.zst: the disk died") {
		t.Errorf("found %+v", f)
	}
}

// Each change is found without a checkpoint from elsewhere, or with one of before when the
// attacker has made the log anew.
func TestEveryChangeIsFound(t *testing.T) {
	t.Parallel()
	const aTip = `(SELECT min(record_tip) FROM noggin_schema.record_versions)`
	s := newSealed(t, 6)
	s.Execute(`INSERT INTO noggin_schema.archives (name, path, month, state) VALUES ('noggin-2025-03.tar.zst', '/archive', '2025-03', 'done'), ('noggin-2025-04.tar.zst', '/archive', '2025-04', 'writing')`)
	kept := s.seal().Checkpoint
	held := s.hold(kept)
	s.backUp()
	published := filepath.Join(t.TempDir(), "published")
	if err := os.CopyFS(published, os.DirFS(s.sealer.Checkpoints)); err != nil {
		t.Fatal(err)
	}
	photograph := s.Value(`SELECT file_path FROM noggin_schema.attachments ORDER BY record_tip, attachment_tip LIMIT 1`)
	original := read(t, filepath.Join(s.Output, photograph))
	var asItWas strings.Builder
	asItWas.WriteString(`SET session_replication_role = replica;`)
	for _, table := range slices.Concat(sealTables, []string{"noggin_data", "attachments", "former_files", "record_versions", "refreshes", "record_hashes"}) {
		columns := s.Value(`SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
			WHERE attrelid = 'noggin_schema.` + table + `'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''`)
		fmt.Fprintf(&asItWas, `DELETE FROM noggin_schema.%[1]s; INSERT INTO noggin_schema.%[1]s (%[2]s) SELECT %[2]s FROM backup.%[1]s;`, table, columns)
	}
	s.Execute(`CREATE TABLE backup.noggin_data AS TABLE noggin_schema.noggin_data; CREATE TABLE backup.attachments AS TABLE noggin_schema.attachments;
		CREATE TABLE backup.former_files AS TABLE noggin_schema.former_files; CREATE TABLE backup.record_versions AS TABLE noggin_schema.record_versions;
		CREATE TABLE backup.refreshes AS TABLE noggin_schema.refreshes;
		CREATE TABLE backup.record_hashes AS TABLE noggin_schema.record_hashes`)
	undo := func() {
		s.Execute(asItWas.String())
		if err := errors.Join(os.RemoveAll(s.sealer.Checkpoints), os.CopyFS(s.sealer.Checkpoints, os.DirFS(published)),
			os.WriteFile(filepath.Join(s.Output, photograph), []byte(original), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	change := func(sql string) func() { return func() { s.Execute(sql) } }
	for _, one := range []struct {
		name  string
		do    func()
		check string
		names string
	}{
		{"a photograph is changed", func() {
			if err := os.WriteFile(filepath.Join(s.Output, photograph), []byte(strings.ToUpper(original)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "file", photograph},
		{"a photograph is removed", func() {
			if err := os.Remove(filepath.Join(s.Output, photograph)); err != nil {
				t.Fatal(err)
			}
		}, "file", photograph + " is missing"},
		{"a photograph is said to be in an archive that has nothing of the record", change(`UPDATE noggin_schema.attachments SET archive_id = (SELECT min(id) FROM noggin_schema.archives)
			WHERE file_path = '` + photograph + `'`), "file", photograph + " is said to be in an archive, which has nothing"},
		{"a photograph is said to be in an archive that is not written", change(`INSERT INTO noggin_schema.archive_records
			SELECT record_tip, (SELECT max(id) FROM noggin_schema.archives) FROM noggin_schema.attachments WHERE file_path = '` + photograph + `';
			UPDATE noggin_schema.attachments SET archive_id = (SELECT max(id) FROM noggin_schema.archives) WHERE file_path = '` + photograph + `'`), "file", photograph + " is said to be in an archive, which has nothing"},
		{"a photograph is changed with its row", s.forgePhotograph, "attachment", photograph},
		{"the hash of an attachment is changed", change(`UPDATE noggin_schema.attachments SET file_hash_sha256 = repeat('ab', 32) WHERE file_path = '` + photograph + `'`), "attachment", photograph},
		{"the size of an attachment is changed", change(`UPDATE noggin_schema.attachments SET file_size_bytes = file_size_bytes + 1 WHERE file_path = '` + photograph + `'`), "attachment", photograph},
		{"an attachment is dropped", change(`DELETE FROM noggin_schema.attachments WHERE file_path = '` + photograph + `'`), "attachment", "is gone"},
		{"a payload is changed", change(`UPDATE noggin_schema.noggin_data SET payload = jsonb_set(payload, '{jobNumber}', '"J-0"') WHERE tip = ` + aTip), "payload", "leaf 0, record"},
		{"a column is changed", change(`UPDATE noggin_schema.noggin_data SET load_compliance = 'Compliant, says somebody' WHERE tip = ` + aTip), "columns", "what stands in load_compliance"},
		{
			"the id and the day are changed", change(`UPDATE noggin_schema.noggin_data SET inspection_id = 'LCD - 1000000', inspection_date = '2020-02-29' WHERE tip = ` + aTip),
			"columns", "in inspection_date, inspection_id",
		},
		{"a hash is changed", change(`UPDATE noggin_schema.noggin_data SET vehicle_hash = repeat('ab', 32) WHERE tip = ` + aTip), "columns", "what stands in vehicle_hash"},
		{"the form is changed", change(`UPDATE noggin_schema.noggin_data SET object_type = CASE object_type WHEN 'SO' THEN 'LCD' ELSE 'SO' END WHERE tip = ` + aTip), "columns", "inspection_id"},
		{"a body is changed", change(`UPDATE noggin_schema.record_versions SET answer = (SELECT answer FROM noggin_schema.record_versions ORDER BY record_tip DESC LIMIT 1)
			WHERE record_tip = ` + aTip), "body", "leaf 0, record"},
		{"the hash beside a body is changed", change(`UPDATE noggin_schema.record_versions SET hash_sha256 = repeat('ab', 32) WHERE record_tip = ` + aTip), "body", "SHA-256 abab"},
		{"a version is given another sid", change(`UPDATE noggin_schema.record_versions SET sid = 'another' WHERE record_tip = ` + aTip), "body", "version 1 says sid another"},
		{"a version is called a reduced one", change(`UPDATE noggin_schema.record_versions SET kind = 'reduced' WHERE record_tip = ` + aTip), "body", "kind reduced"},
		{"a version is back-dated", change(`UPDATE noggin_schema.record_versions SET fetched_at = fetched_at - interval '90 days' WHERE record_tip = ` + aTip), "time", "version 1 says fetched 20"},
		{"the platform's time is changed", change(`UPDATE noggin_schema.record_versions SET api_modified_at = '2020-02-29 12:00Z' WHERE record_tip = ` + aTip), "time", "modified \"2020-02-29T12:00:00.000000Z\";"},
		{"a version is dropped", change(`DELETE FROM noggin_schema.record_versions WHERE record_tip = ` + aTip), "record", "leaf 0, record"},
		{"a leaf is dropped", change(`DELETE FROM noggin_schema.seal_leaves WHERE position = 2`), "leaf_missing", "leaf 2 of"},
		{
			"a leaf is far behind the others", change(`INSERT INTO noggin_schema.seal_leaves SELECT log_id, 1::bigint << 62, record_tip, claim, leaf FROM noggin_schema.seal_leaves WHERE position = 5`),
			"leaf_missing", "leaf 6 of",
		},
		{"leaves are reordered", change(`UPDATE noggin_schema.seal_leaves SET position = position + 100 WHERE position IN (1, 2);
			UPDATE noggin_schema.seal_leaves SET position = CASE position WHEN 101 THEN 2 ELSE 1 END WHERE position > 100`), "checkpoint", "checkpoint-000000000006"},
		{"leaves are reordered, named by the kept ones", change(`UPDATE noggin_schema.seal_leaves SET position = position + 100 WHERE position IN (1, 2);
			UPDATE noggin_schema.seal_leaves SET position = CASE position WHEN 101 THEN 2 ELSE 1 END WHERE position > 100`), "kept_leaves", "leaf 1, kept in"},
		{"a leaf is changed", change(`UPDATE noggin_schema.seal_leaves SET leaf = replace(leaf, '"complete":true', '"complete":false') WHERE position = 3`), "kept_leaves", "leaf 3, kept in"},
		{"the log is cut", change(`DELETE FROM noggin_schema.seal_leaves WHERE position > 3`), "truncated", "checkpoint-000000000006"},
		{"the log is removed", change(`TRUNCATE noggin_schema.seal_leaves, noggin_schema.seal_tiles, noggin_schema.seal_checkpoints, noggin_schema.seal_logs`), "log_missing", "has 6 leaves"},
		{"a record is put in", change(`INSERT INTO noggin_schema.noggin_data (tip, object_type, processing_status, payload) VALUES ('forged', 'LCD', 'complete', '{}');
			DELETE FROM noggin_schema.seal_due`), "unsealed", "forged"},
		{"another photograph takes the place of a sealed one, which becomes a former file", change(`SET session_replication_role = replica;
			INSERT INTO noggin_schema.former_files (path, record_tip, kind, attachment_tip, first_version, last_version, size_bytes, hash_sha256)
			SELECT file_path, record_tip, 'attachment', attachment_tip, 1, 1, file_size_bytes, file_hash_sha256 FROM noggin_schema.attachments WHERE file_path = '` + photograph + `';
			UPDATE noggin_schema.attachments SET file_path = file_path || 'x', file_hash_sha256 = repeat('ab', 32) WHERE file_path = '` + photograph + `'`), "unproved", photograph + "x has"},
		{"another answer becomes the current version", change(`SET session_replication_role = replica;
			INSERT INTO noggin_schema.record_versions (record_tip, version, kind, sid, payload_sha256, answer, size_bytes, hash_sha256, fetched_at)
			SELECT record_tip, 2, kind, sid, payload_sha256, (SELECT answer FROM noggin_schema.record_versions ORDER BY record_tip DESC LIMIT 1), size_bytes, hash_sha256, fetched_at
			FROM noggin_schema.record_versions WHERE record_tip = ` + aTip + `; UPDATE noggin_schema.noggin_data SET version = 2 WHERE tip = ` + aTip), "unproved", "version 2 has a body"},
		{"a version is put beside the current one", change(`SET session_replication_role = replica;
			INSERT INTO noggin_schema.record_versions (record_tip, version, kind, sid, payload_sha256, answer, size_bytes, hash_sha256, fetched_at)
			SELECT record_tip, 2, kind, sid, sha256('forged'), (SELECT answer FROM noggin_schema.record_versions ORDER BY record_tip DESC LIMIT 1), size_bytes, hash_sha256, fetched_at
			FROM noggin_schema.record_versions WHERE record_tip = ` + aTip), "unproved", "version 2 has a body"},
		{"a photograph is put into the past", change(`SET session_replication_role = replica;
			INSERT INTO noggin_schema.former_files (path, record_tip, kind, attachment_tip, first_version, last_version, size_bytes, hash_sha256)
			VALUES ('forged.jpg', ` + aTip + `, 'attachment', 'forged', 1, 1, 1, repeat('ab', 32))`), "unproved", "forged.jpg has"},
		{"a leaf is added", change(`INSERT INTO noggin_schema.seal_leaves SELECT log_id, 6, record_tip, claim, leaf FROM noggin_schema.seal_leaves WHERE position = 5`), "leaf_unsigned", "leaf 6 of"},
		{"a kept checkpoint is cut", func() {
			if err := os.Truncate(kept, 60); err != nil {
				t.Fatal(err)
			}
		}, "kept_checkpoint", "checkpoint-000000000006"},
		{"a stored checkpoint stands under another size", change(`UPDATE noggin_schema.seal_checkpoints SET tree_size = 5`), "stored_checkpoint", "has 6 leaves"},
		{"a leaf stands under another record", change(`UPDATE noggin_schema.seal_leaves SET record_tip = 'other' WHERE position = 1`), "leaf_column", "stands under other"},
		{"a leaf stands under another claim", change(`UPDATE noggin_schema.seal_leaves SET claim = sha256('other') WHERE position = 1`), "leaf_column", "stands under"},
		{"the log is made anew", func() { s.forgePhotograph(); s.forge() }, "checkpoint", "the first that does not match is"},
		{"a record is dropped and the log made anew", func() {
			s.Execute(`DELETE FROM noggin_schema.attachments WHERE record_tip = ` + aTip + `; DELETE FROM noggin_schema.refreshes WHERE record_tip = ` + aTip + `;
				DELETE FROM noggin_schema.record_hashes; CREATE TEMP TABLE gone AS SELECT ` + aTip + ` AS tip; DELETE FROM noggin_schema.record_versions WHERE record_tip = ` + aTip + `;
				DELETE FROM noggin_schema.noggin_data WHERE tip = (SELECT tip FROM gone)`)
			s.forge()
		}, "truncated", "checkpoint-000000000006"},
	} {
		one.do()
		area := s.look(held)
		got := finding(area, one.check)
		if text := got.Message + " " + strings.Join(got.Examples, " "); got.Severity != validate.SeverityError || !strings.Contains(strings.ToLower(text), strings.ToLower(one.names)) {
			t.Errorf("%s: found %+v", one.name, area.Findings)
		}
		undo()
		if area := s.look(held); len(area.Findings) > 0 {
			t.Fatalf("after %s was undone: %+v", one.name, area.Findings)
		}
	}
}

func TestEveryColumnIsComparedWithTheBody(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 1)
	s.seal()
	columns := strings.Fields(`inspection_id driver_loader_name job_number run_number load_compliance vehicle_hash trailer_hash trailer2_hash trailer3_hash department_hash team_hash inspected_by_hash`)
	s.Execute(`UPDATE noggin_schema.noggin_data SET inspection_date = '2020-02-29', ` + strings.Join(columns, ` = 'x', `) + ` = 'x'`)
	said := " " + strings.Join(finding(s.look(), "columns").Examples, "") + ","
	for _, column := range append(columns, "inspection_date") {
		if !strings.Contains(said, " "+column+",") {
			t.Errorf("%s is not among%s", column, said)
		}
	}
}

// An answer that was modified before the sealed current one never becomes the current one.
func TestAnEarlierAnswerThatBecomesTheCurrentOneAgainIsFound(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 2)
	s.seal()
	s.edit(1)
	held := s.hold(s.seal().Checkpoint)
	if area := s.look(held); len(area.Findings) > 0 {
		t.Fatalf("found %+v", area.Findings)
	}
	for status, want := range map[string]string{"complete": "current_older", "skipped": "current_older"} {
		s.Execute(`SET session_replication_role = replica; UPDATE noggin_schema.noggin_data SET version = 1, processing_status = '` + status + `' WHERE version = 2 OR tip IN (SELECT record_tip FROM noggin_schema.record_versions WHERE version = 2)`)
		if got := finding(s.look(held), want); got.Count != 1 || got.Severity != validate.SeverityError || !strings.Contains(got.Examples[0], "its current version 1 was modified") {
			t.Errorf("as %s: %+v", status, got)
		}
	}
	// The version that followed is not in a restored database until it is fetched again.
	s.Execute(`DELETE FROM noggin_schema.record_versions WHERE version = 2`)
	if got := checks(s.look(held)); slices.Contains(got, "current_older") || slices.Contains(got, "current_again") {
		t.Errorf("found %q", got)
	}
}

// What may be noggin's own work is a warning.
func TestWhatNogginItselfMayHaveDoneAccusesNobody(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 2)
	s.seal()
	s.Server.Edit(s.Server.Record(0).Tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-79"}, Add: []string{s.Server.Record(0).Attachments[0].Field}})
	s.Server.AddFault(apitest.Fault{Status: 404, On: apitest.OnMedia})
	s.Execute(`UPDATE noggin_schema.refreshes SET due_at = now()`)
	s.MustRun(process.Options{UntilEmpty: true, Refresh: true})
	if got := s.Value(`SELECT processing_status FROM noggin_schema.noggin_data WHERE version = 2`); got == "complete" {
		t.Fatal("the record is complete: the test shows nothing")
	}
	s.Execute(`INSERT INTO noggin_schema.former_files (path, record_tip, kind, attachment_tip, first_version, last_version, size_bytes, hash_sha256)
		SELECT 'found.jpg', max(tip), 'attachment', 'found', 7, 7, 1, repeat('ab', 32) FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`)
	area := s.look()
	for _, check := range []string{"unsealed_answer", "unsealed_former"} {
		if got := finding(area, check); got.Count != 1 || got.Severity != validate.SeverityWarning {
			t.Errorf("%s: %+v", check, got)
		}
	}
	if len(area.Findings) != 2 {
		t.Errorf("found %+v", area.Findings)
	}
}

// Who names a key trusts none of those that lie here: all of it may have been made anew.
func TestOnlyTheGivenKeyIsTrusted(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 1)
	for key, want := range map[string][]string{s.seal().PublicKey: nil, newSealedKey(t): {"kept_checkpoint", "stored_checkpoint", "leaf_unsigned"}} {
		e := Evidence{DB: s.DB, Paths: files.Paths{Checkpoints: s.sealer.Checkpoints}, Types: s.Types, PublicKey: key, NoFiles: true}
		if area, err := e.Area(t.Context()); err != nil || !slices.Equal(checks(area), want) {
			t.Errorf("with the key %s: %q, %v", key, checks(area), err)
		}
	}
}

// The leaves that somebody else kept beside a checkpoint tell which one was changed.
func TestTheLeavesBesideAGivenCheckpointAreCompared(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 2)
	given := s.seal().Checkpoint
	away := filepath.Join(t.TempDir(), filepath.Base(filepath.Dir(given)))
	batchtest.Must(t, os.Rename(filepath.Dir(given), away))
	s.Execute(`UPDATE noggin_schema.seal_leaves SET leaf = replace(leaf, '"complete":true', '"complete":false') WHERE position = 1`)
	if got := finding(s.look(filepath.Join(away, filepath.Base(given))), "kept_leaves"); len(got.Examples) != 1 || !strings.HasPrefix(got.Examples[0], "leaf 1, kept in "+away) {
		t.Errorf("found %+v", got)
	}
}

func TestACheckpointOfAnotherKeyIsNamed(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 2)
	held := s.hold(s.seal().Checkpoint)
	text := read(t, held)
	forged := filepath.Join(t.TempDir(), "forged")
	if err := os.WriteFile(forged, []byte(strings.Replace(text, "\n2\n", "\n1\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := finding(s.look(forged), "checkpoint_key"); len(got.Examples) != 1 || !strings.Contains(got.Examples[0], forged) {
		t.Errorf("a checkpoint with another size: %+v", got)
	}
	mailed := filepath.Join(t.TempDir(), "mailed")
	if err := os.WriteFile(mailed, []byte(strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\r\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if area := s.look(mailed); len(area.Findings) > 0 {
		t.Errorf("a checkpoint that went through the mail: %+v", area.Findings)
	}
	if err := os.WriteFile(mailed, []byte("Dear Sir,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := finding(s.look(mailed), "checkpoint_unreadable"); len(got.Examples) != 1 {
		t.Errorf("a letter: %+v", got)
	}
}
