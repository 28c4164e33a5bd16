package powercut

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"noggin/batch/batchtest"
)

// check compares database, files and truth. It returns the damage.
func (r *trial) check() (damage []string) {
	for _, compare := range []func() []string{r.checkArchives, r.checkFiles, r.checkExports, r.checkBackups, r.checkCopies, r.checkSeal} {
		damage = append(damage, compare()...)
	}
	return damage
}

// checkFiles looks for each file that the database has: on disk or, where it is in an
// archive, there. The hash of an attachment is of
// bytes that were served.
func (r *trial) checkFiles() (damage []string) {
	damage, err := batchtest.LostFiles(context.Background(), r.sql, r.output(""))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, a := range r.rows(`SELECT attachment_tip, file_path, file_hash_sha256 FROM noggin_schema.attachments WHERE attachment_status = 'complete'`) {
		if want := r.api.MediaSHA256(a[0]); a[2] != want && !slices.Contains(r.served[a[0]], a[2]) {
			damage = append(damage, fmt.Sprintf("%s: the database has SHA-256 %s instead of %s, which was served", a[1], a[2], want))
		}
	}
	return damage
}

// checkArchives looks whether each archive that was read back once is whole.
func (r *trial) checkArchives() (damage []string) {
	for _, a := range r.rows(`SELECT path, hash_sha256, state FROM noggin_schema.archives WHERE state <> 'writing'`) {
		if got, err := batchtest.HashFile(a[0]); got != a[1] {
			damage = append(damage, fmt.Sprintf("%s is %s: SHA-256 %s instead of %s (%v)", a[0], a[2], got, a[1], err))
		}
	}
	return damage
}

// checkExports looks for each CSV file and its rows.
func (r *trial) checkExports() (damage []string) {
	known := map[string]bool{}
	for _, tip := range r.texts(`SELECT tip FROM noggin_schema.noggin_data`) {
		known[tip] = true
	}
	rejected := ""
	found, err := filepath.Glob(r.back.dir + "/error/*.rejected*.csv")
	for _, path := range found {
		content, readErr := os.ReadFile(path)
		rejected, err = rejected+string(content), errors.Join(err, readErr)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range r.exports {
		if got, _ := batchtest.HashFile(filepath.Join(r.input(), e.name)); got == e.sum {
			continue
		}
		whole := false
		for _, folder := range []string{r.input() + "/processed", r.back.dir + "/error"} {
			got, _ := batchtest.HashFile(filepath.Join(folder, e.name)) // what is missing is told below
			whole = whole || got == e.sum
		}
		if !whole {
			damage = append(damage, e.name+" is in no folder, or not whole")
		}
		for _, tip := range e.tips {
			if !known[tip] {
				damage = append(damage, fmt.Sprintf("%s: tip %s is no record", e.name, tip))
			}
		}
		if !strings.Contains(rejected, e.rejected+`,LCD`) {
			damage = append(damage, e.name+": its rejected row is nowhere")
		}
		if _, err := os.Stat(filepath.Join(r.back.dir, "error", e.name)); err == nil {
			if info, err := os.Stat(filepath.Join(r.back.dir, "error", e.name+".reason.txt")); err != nil || info.Size() == 0 {
				damage = append(damage, e.name+" is in the error folder without the reason")
			}
		}
	}
	return damage
}

// checkBackups looks whether what has the name of a backup is whole, and whether the
// newest that was recorded as good, or a newer one, is there.
func (r *trial) checkBackups() (damage []string) {
	dumps, err := filepath.Glob(r.back.dir + "/backups/*.dump")
	if err != nil {
		r.t.Fatal(err)
	}
	var newest time.Time
	for _, dump := range dumps {
		var manifest struct {
			TakenAt time.Time `json:"taken_at"`
			SHA256  string    `json:"sha256"`
		}
		text, err := os.ReadFile(dump + ".json")
		if errors.Is(err, fs.ErrNotExist) {
			damage = append(damage, dump+" has no manifest")
			continue
		}
		if err := errors.Join(err, json.Unmarshal(text, &manifest)); err != nil {
			damage = append(damage, fmt.Sprintf("the manifest of %s: %v", dump, err))
			continue
		}
		if got, err := batchtest.HashFile(dump); got != manifest.SHA256 {
			damage = append(damage, fmt.Sprintf("%s: SHA-256 %s instead of %s (%v)", dump, got, manifest.SHA256, err))
			continue
		}
		if manifest.TakenAt.After(newest) {
			newest = manifest.TakenAt
		}
	}
	for _, at := range r.texts(`SELECT to_char(max((summary->>'taken_at')::timestamptz) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
		FROM noggin_schema.runs WHERE command = 'maintain backup' AND exit_code = 0 HAVING count(*) > 0`) {
		good, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			r.t.Fatal(err)
		}
		if newest.Before(good) {
			damage = append(damage, fmt.Sprintf("the backup of %s was recorded as good and is gone", at))
		}
	}
	return damage
}
