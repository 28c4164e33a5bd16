package powercut

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
)

// export is a CSV file that the operator has put into the input folder.
type export struct {
	name     string
	sum      string
	tips     []string
	rejected string // a row that cannot be used
}

// steps are commands that are cut, each with a check of what it reported. They return
// the damage.
var steps = map[string]func(*trial) []string{
	"import-csv":      (*trial).cutImport,
	"process":         (*trial).cutProcess,
	"process --adopt": (*trial).cutAdopt,
	"hashes import":   (*trial).cutHeal,
	"archive create":  (*trial).cutArchive,
	"archive restore": (*trial).cutRestore,
	"maintain backup": (*trial).cutBackup,
	"refresh":         (*trial).cutRefresh,
	"copy run":        (*trial).cutCopy,
	"seal":            (*trial).cutSeal,
	"export":          (*trial).cutExport,
}

// stepNames has the common ones several times.
var stepNames = []string{
	"import-csv", "import-csv", "process", "process", "process", "process --adopt", "hashes import", "hashes import",
	"archive create", "archive create", "archive create", "archive restore", "archive restore", "maintain backup",
	"refresh", "refresh", "copy run", "copy run", "seal", "seal", "export",
}

// deliver puts CSV files into the input folder: one with new records and a row that
// cannot be used, and sometimes one in which nothing can.
func (r *trial) deliver() {
	r.t.Helper()
	const records = 8
	e := export{name: fmt.Sprintf("export-%03d.csv", len(r.exports)), rejected: fmt.Sprintf("no tip %d", len(r.exports))}
	rows := [][]string{{"tip", "lcdInspectionId", "date"}, {e.rejected, "LCD - 1", "17-Sep-25"}}
	for range records {
		record := r.api.Record(r.next)
		r.next++
		e.tips = append(e.tips, record.Tip)
		rows = append(rows, []string{record.Tip, record.InspectionID, record.Day.Format("02-Jan-06")})
	}
	r.put(e, rows)
	if r.chance(0.4) {
		e := export{name: fmt.Sprintf("export-%03d.csv", len(r.exports)), rejected: fmt.Sprintf("no tip %d", len(r.exports))}
		r.put(e, [][]string{{"tip", "lcdInspectionId", "date"}, {e.rejected, "LCD - 1", "17-Sep-25"}})
	}
	r.sync()
}

func (r *trial) put(e export, rows [][]string) {
	r.t.Helper()
	var content bytes.Buffer
	if err := csv.NewWriter(&content).WriteAll(rows); err != nil {
		r.t.Fatal(err)
	}
	sum := sha256.Sum256(content.Bytes())
	e.sum = hex.EncodeToString(sum[:])
	if err := os.WriteFile(filepath.Join(r.input(), e.name), content.Bytes(), 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.exports = append(r.exports, e)
}

func (r *trial) cutImport() (damage []string) {
	r.deliver()
	o := r.cutDuring("import-csv", "--format", "json")
	if !o.well() {
		return nil
	}
	var told struct {
		Files []struct {
			File    string `json:"file"`
			MovedTo string `json:"moved_to"`
		} `json:"files"`
	}
	if err := json.Unmarshal(o.stdout, &told); err != nil {
		r.t.Fatalf("%v: %s", err, o.stdout)
	}
	for _, f := range told.Files {
		if f.MovedTo == "" {
			r.t.Errorf("%s stays in the input folder", f.File)
			continue
		}
		if _, err := os.Stat(f.MovedTo); err != nil {
			damage = append(damage, fmt.Sprintf("%s was reported as moved to %s: %v", f.File, f.MovedTo, err))
		}
		if _, err := os.Stat(filepath.Join(r.input(), f.File)); err == nil {
			damage = append(damage, f.File+" was reported as moved and is in the input folder again")
		}
	}
	return damage
}

// pending makes sure that there are records to fetch.
func (r *trial) pending() {
	r.t.Helper()
	if r.count(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status <> 'complete'`) < 4 {
		r.deliver()
		if o := r.run("import-csv"); !o.well() {
			r.t.Fatalf("import-csv: exit code %d\n%s", o.code, r.said())
		}
	}
}

func (r *trial) cutProcess() []string {
	r.pending()
	r.cutDuring("process", "--until-empty")
	return nil
}

// cutAdopt has noggin take files that it did not write, after the database was
// restored from an older backup: nobody has flushed them.
func (r *trial) cutAdopt() []string {
	tips := r.texts(`SELECT tip FROM noggin_schema.noggin_data d WHERE processing_status = 'complete' AND NOT archived
		AND NOT EXISTS (SELECT FROM noggin_schema.former_files WHERE record_tip = tip) AND NOT EXISTS (SELECT FROM noggin_schema.seal_leaves WHERE record_tip = tip)
		AND NOT EXISTS (SELECT FROM noggin_schema.record_versions WHERE record_tip = tip AND version > 1)
		AND EXISTS (SELECT FROM noggin_schema.attachments WHERE record_tip = tip) ORDER BY tip`)
	if len(tips) < 2 {
		return r.cutProcess()
	}
	args, written := []string{"--adopt"}, map[string]string{}
	for range 2 {
		i := r.random.IntN(len(tips))
		tip := tips[i]
		tips = append(tips[:i], tips[i+1:]...)
		files := r.texts(`SELECT report_path FROM noggin_schema.noggin_data WHERE tip = $1
			UNION ALL SELECT file_path FROM noggin_schema.attachments WHERE record_tip = $1`, tip)
		for _, table := range []string{"attachments", "record_versions"} {
			r.exec(`DELETE FROM noggin_schema.`+table+` WHERE record_tip = $1`, tip)
		}
		r.exec(`DELETE FROM noggin_schema.noggin_data WHERE tip = $1`, tip)
		r.exec(`INSERT INTO noggin_schema.noggin_data (tip, object_type) VALUES ($1, 'LCD')`, tip)
		for _, f := range files {
			content, err := os.ReadFile(r.output(f))
			sum := sha256.Sum256(content)
			written[f] = hex.EncodeToString(sum[:])
			if err := errors.Join(err, os.Remove(r.output(f)), os.WriteFile(r.output(f), content, 0o644)); err != nil {
				r.t.Fatal(err)
			}
		}
		args = append(args, "--tip", tip)
	}
	r.cutDuring("process", args...)
	// What the other program lost it takes away: noggin replaces no file that it does
	// not know.
	for f, sum := range written {
		known := r.count(`SELECT (SELECT count(*) FROM noggin_schema.attachments WHERE file_path = $1 AND attachment_status = 'complete')
			+ (SELECT count(*) FROM noggin_schema.noggin_data WHERE report_path = $1)`, f)
		if got, err := batchtest.HashFile(r.output(f)); err == nil && got != sum && known == 0 {
			if err := os.Remove(r.output(f)); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	r.sync()
	return nil
}

// cutHeal gives names to some of the hashes, so that the records that show them are
// renewed: by this command, or, where it is killed, by the next.
func (r *trial) cutHeal() []string {
	kinds := []apitest.EntityType{apitest.Vehicle, apitest.Trailer, apitest.Department, apitest.Team, apitest.Person}
	kind := kinds[r.random.IntN(len(kinds))]
	var known, changed bytes.Buffer
	err := r.api.WriteNamesCSV(&known, kind)
	rows, readErr := csv.NewReader(&known).ReadAll()
	if err := errors.Join(err, readErr); err != nil {
		r.t.Fatal(err)
	}
	for _, row := range rows[1:] {
		if r.chance(0.5) {
			row[1] += fmt.Sprintf(" %d", r.steps)
		}
	}
	path := r.at("names.csv")
	if err := csv.NewWriter(&changed).WriteAll(rows); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, changed.Bytes(), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.cutDuring("hashes import", string(kind), path)
	return nil
}

// cutArchive also looks whether the originals of an archive stay removed once the
// database calls it done.
func (r *trial) cutArchive() (damage []string) {
	const archivable = `SELECT count(*) FROM noggin_schema.noggin_data
		WHERE processing_status = 'complete' AND report_archive_id IS NULL AND report_path IS NOT NULL AND inspection_date < $1`
	before := fmt.Sprintf("2025-%02d-01", 2+r.random.IntN(4))
	if r.count(archivable, before) == 0 {
		before = "2026-01-01"
	}
	if r.count(archivable, before) == 0 {
		return r.cutProcess()
	}
	args := []string{"--before", before}
	if r.chance(0.2) {
		args = append(args, "--keep")
	}
	const done = `SELECT id FROM noggin_schema.archives WHERE state = 'done'`
	already := strings.Join(r.texts(done), ",")
	r.cutDuring("archive create", args...)
	for _, id := range r.texts(done+` AND NOT id = ANY(string_to_array($1, ',')::bigint[])`, already) {
		for _, f := range r.rows(`SELECT file_path, file_hash_sha256 FROM noggin_schema.attachments WHERE archive_id = $1
			UNION ALL SELECT report_path, report_hash_sha256 FROM noggin_schema.noggin_data WHERE report_archive_id = $1`, id) {
			if got, _ := batchtest.HashFile(r.output(f[0])); got == f[1] { // another content is newer
				damage = append(damage, fmt.Sprintf("archive %s is done and %s is on disk again", id, f[0]))
			}
		}
	}
	return damage
}

func (r *trial) cutRestore() (damage []string) {
	archive, ok := r.pick(r.texts(`SELECT name FROM noggin_schema.archives a WHERE state = 'done' AND EXISTS (
		SELECT FROM noggin_schema.attachments WHERE archive_id = a.id)`))
	if !ok {
		return r.cutArchive()
	}
	if r.chance(0.3) {
		to := filepath.Join(r.back.dir, "restored", strconv.Itoa(r.steps))
		if o := r.cutDuring("archive restore", "--to", to, archive); !o.ended || o.code != 0 {
			return nil
		}
		members, err := batchtest.ReadArchive(filepath.Join(r.back.dir, "archive", archive))
		if err != nil {
			return []string{err.Error()}
		}
		for name, sum := range members {
			if got, err := batchtest.HashFile(filepath.Join(to, name)); !strings.HasPrefix(name, "noggin-") && got != sum {
				damage = append(damage, fmt.Sprintf("%s was reported as restored: it has SHA-256 %s instead of %s (%v)", name, got, sum, err))
			}
		}
		return damage
	}
	target := archive
	if r.chance(0.5) {
		target, _ = r.pick(r.texts(`SELECT record_tip FROM noggin_schema.attachments JOIN noggin_schema.archives a ON a.id = archive_id WHERE name = $1`, archive))
	}
	if o := r.cutDuring("archive restore", "--in-place", target); !o.well() {
		r.unrestored = append(r.unrestored, target)
	}
	return nil
}

func (r *trial) cutBackup() []string {
	r.cutDuring("maintain backup")
	return nil
}
