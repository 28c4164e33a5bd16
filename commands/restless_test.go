package commands

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/storage"
)

// restless is a mirror whose records are edited at the platform, while hosts ask for them
// again, names are imported, months move into archives and back, and any of that is killed.
type restless struct {
	*hosts
	random   *rand.Rand
	served   map[string][]string // by tip: the SHA-256 of each version, as they were edited
	evidence map[string]seenFile // by path: each attachment and former report that was ever on disk
	edits    int
}

// seenFile is a file as it was seen on disk.
type seenFile struct {
	sum  string
	info fs.FileInfo
}

func newRestless(h *hosts, seed uint64) *restless {
	r := &restless{hosts: h, random: rand.New(rand.NewPCG(seed, 22)), served: map[string][]string{}, evidence: map[string]seenFile{}}
	for record := range r.api.Records() {
		r.note(record.Tip)
	}
	return r
}

func sha256Of(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// note notes the version that is served now.
func (r *restless) note(tip string) {
	r.served[tip] = append(r.served[tip], sha256Of(r.api.Payload(tip)))
}

// current lists the records of which the mirror has the version that is served now.
func (r *restless) current() (records []apitest.Record) {
	r.t.Helper()
	mirrored := map[string]string{}
	rows, err := r.sql.QueryContext(r.t.Context(), `SELECT d.tip, v.hash_sha256 FROM noggin_schema.noggin_data d
		JOIN noggin_schema.record_versions v ON v.record_tip = d.tip AND v.version = d.version`)
	if err != nil {
		return nil // the server is just coming back
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var tip, sum string
		if err := rows.Scan(&tip, &sum); err != nil {
			return nil
		}
		mirrored[tip] = sum
	}
	if rows.Err() != nil {
		return nil
	}
	for record := range r.api.Records() {
		if mirrored[record.Tip] == r.served[record.Tip][len(r.served[record.Tip])-1] {
			records = append(records, record)
		}
	}
	return records
}

// edit edits a record of current: what was served may not be lost with a run that was
// killed before it stored it.
func (r *restless) edit(record apitest.Record) {
	r.edits++
	edit := apitest.Edit{Set: map[string]any{"jobNumber": fmt.Sprintf("J-%d", r.edits)}}
	switch n := len(record.Attachments); {
	case n > 0 && r.edits%3 == 0:
		edit.Replace = []string{record.Attachments[r.random.IntN(n)].Tip}
	case n > 1 && r.edits%3 == 1 || n > 6:
		edit.Remove = []string{record.Attachments[r.random.IntN(n)].Tip}
	case record.Code == "LCD":
		edit.Add = []string{"attachments"}
	}
	r.api.Edit(record.Tip, edit)
	r.note(record.Tip)
}

// look notes the files that are on disk, and compares those that were seen before. A file
// whose inode, size and time are those of the last look is not read again.
func (r *restless) look() {
	r.t.Helper()
	output := filepath.Join(r.folder, "output")
	err := filepath.WalkDir(output, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			if os.IsNotExist(err) { // an archive took it
				return nil
			}
			return err
		}
		name, _ := filepath.Rel(output, path)
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "_inspection_data.txt") || strings.Contains(entry.Name(), ".tmp") {
			return nil // the current report is written again
		}
		info, err := entry.Info()
		if err != nil {
			return nil
		}
		was, seen := r.evidence[name]
		if seen && os.SameFile(info, was.info) && info.Size() == was.info.Size() && info.ModTime().Equal(was.info.ModTime()) {
			return nil
		}
		sum, err := batchtest.HashFile(path)
		if err != nil {
			return nil
		}
		if seen && was.sum != sum {
			r.t.Errorf("%s was replaced", name)
		}
		r.evidence[name] = seenFile{sum, info}
		return nil
	})
	if err != nil {
		r.t.Error(err)
	}
}

// settle runs everything to its end, until the mirror shows what is served.
func (r *restless) settle() {
	r.t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for day := 1; ; day++ {
		r.finishOff()
		// Former bytes become current on the second day: a cache served others first.
		if _, err := r.sql.ExecContext(r.t.Context(), `UPDATE noggin_schema.attachments SET former_served_at = former_served_at - interval '1 day'`); err != nil {
			r.t.Fatal(err)
		}
		// One that ends early, as for a pause that the API asked for, asked for nothing again.
		asked := r.run("process", "--refresh", "--media", "--until-empty", "--quiet") == 0
		r.finishOff()
		if asked && len(r.current()) == r.api.Len() {
			return
		}
		if day > 2 && time.Now().After(deadline) {
			r.t.Fatal("the mirror does not become what is served")
		}
	}
}

// verify holds everything against what was ever served, and seen on disk.
func (r *restless) verify() {
	r.t.Helper()
	cfg := storage.DefaultConfig()
	cfg.URL = r.postgres.URL("noggin_db")
	db, err := storage.Open(cfg, "test")
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	wrong := map[string]bool{}
	for tip, want := range r.served {
		versions, err := db.Versions(context.Background(), tip)
		if err != nil {
			r.t.Fatal(err)
		}
		if len(versions) != len(want) {
			r.t.Errorf("%s: %d versions, %d were served", tip[:8], len(versions), len(want))
			continue
		}
		for i, v := range versions {
			body, found, err := db.VersionBody(context.Background(), tip, v.Version)
			if err != nil || !found || sha256Of(body) != want[i] || v.SHA256 != want[i] {
				r.t.Errorf("%s: version %d is not the one that was served: %v", tip[:8], v.Version, err)
			}
		}
	}
	for record := range r.api.Records() {
		for _, a := range record.Attachments {
			if n := r.count(fmt.Sprintf(`SELECT count(*) FROM noggin_schema.attachments WHERE record_tip = '%s' AND attachment_tip = '%s' AND file_hash_sha256 = '%s'
				AND attachment_status = 'complete'`, record.Tip, a.Tip, r.api.MediaSHA256(a.Tip))); n != 1 {
				r.t.Errorf("attachment %s of %s is not the one that is served: SHA-256 %s", a.Tip, record.Tip, r.api.MediaSHA256(a.Tip))
				wrong[record.Tip] = true
			}
		}
	}
	for tip := range wrong {
		r.tell(tip)
	}
	r.look()
	r.keepsEvidence()
	for _, args := range [][]string{{"validate", "data"}, {"validate", "files", "--deep"}, {"archive", "verify", "all"}} {
		if code := r.run(args...); code != 0 {
			r.t.Errorf("noggin %s: exit code %d", strings.Join(args, " "), code)
		}
	}
	r.t.Logf("%d edits, %d files of evidence", r.edits, len(r.evidence))
}

// tell logs what is known of a record that is not as it should be: its rows, the last
// requests for it, the last runs, and what their processes said.
func (r *restless) tell(tip string) {
	r.t.Helper()
	rows := []string{
		"noggin_data WHERE tip = $1", "attachments WHERE record_tip = $1", "former_files WHERE record_tip = $1",
		"refreshes WHERE record_tip = $1", "processing_errors WHERE tip = $1", "runs WHERE $1 <> '' ORDER BY id DESC LIMIT 40",
	}
	for _, table := range rows {
		var told string
		err := r.sql.QueryRowContext(r.t.Context(), `SELECT coalesce(string_agg(row_to_json(t)::text, E'\n'), 'no row') FROM (SELECT * FROM noggin_schema.`+table+`) t`, tip).Scan(&told)
		r.t.Logf("%s, $1 = %s: %v\n%.20000s", table, tip, err, told)
	}
	for _, e := range r.api.Log() {
		if e.Record == tip {
			r.t.Logf("%+v", e)
		}
	}
	r.t.Logf("the last processes said:\n%s", tail(r.logs.String(), 200_000))
}

// keepsEvidence holds every file that was ever seen, and every file that the database has,
// against what is on disk and in archives.
func (r *restless) keepsEvidence() {
	r.t.Helper()
	archived := map[[2]string]bool{} // path and SHA-256
	rows, err := r.sql.QueryContext(r.t.Context(), `SELECT file_path, file_hash_sha256 FROM noggin_schema.attachments WHERE archive_id IS NOT NULL
		UNION ALL SELECT path, hash_sha256 FROM noggin_schema.former_files WHERE archive_id IS NOT NULL`)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var file [2]string
		if err := rows.Scan(&file[0], &file[1]); err != nil {
			r.t.Fatal(err)
		}
		archived[file] = true
	}
	lost, err := batchtest.LostFiles(r.t.Context(), r.sql, filepath.Join(r.folder, "output"))
	if err := errors.Join(err, rows.Err()); err != nil {
		r.t.Fatal(err)
	}
	for _, why := range lost {
		r.t.Error(why)
	}
	for name, seen := range r.evidence {
		if sum, err := batchtest.HashFile(filepath.Join(r.folder, "output", name)); sum != seen.sum && !archived[[2]string{name, seen.sum}] {
			r.t.Errorf("%s is neither on disk nor in an archive: %v", name, err)
		}
	}
}
