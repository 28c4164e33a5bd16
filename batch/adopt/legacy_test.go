package adopt_test

import (
	"database/sql"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/process"
	"noggin/batch/validate"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// legacyRow is an attachment of the replaced service.
type legacyRow struct {
	record, tip, filename string
	path                  any // string, or nil
	size, hash            any
}

// becomeReplaced makes the mirror's tree that of the replaced service: its records and rows
// in a database of the manual's columns, migrated. change says where each file is put,
// and what the old service knew of it.
func becomeReplaced(m *batchtest.Mirror, change func(n int, row *legacyRow, file string) (now string)) {
	m.T.Helper()
	old, err := sql.Open("postgres", m.URL)
	if err != nil {
		m.T.Fatal(err)
	}
	defer func() { _ = old.Close() }()
	cfg := storage.DefaultConfig()
	cfg.URL = storagetest.Database(m.T)
	legacy, err := sql.Open("postgres", cfg.URL)
	if err != nil {
		m.T.Fatal(err)
	}
	defer func() { _ = legacy.Close() }()
	must := func(_ any, err error) {
		m.T.Helper()
		if err != nil {
			m.T.Fatal(err)
		}
	}
	must(legacy.ExecContext(m.T.Context(), `CREATE SCHEMA noggin_schema;
		CREATE TABLE noggin_schema.noggin_data (tip text, object_type text, processing_status text, lcd_inspection_id text, updated_at timestamp DEFAULT now());
		CREATE TABLE noggin_schema.attachments (record_tip text, attachment_tip text, attachment_sequence integer, filename text, file_path text,
			attachment_status text, file_size_bytes bigint, file_hash_sha256 text, download_duration_seconds numeric)`))
	rows, err := old.QueryContext(m.T.Context(), `SELECT n.tip, n.object_type, a.attachment_tip, a.attachment_sequence, a.file_path, a.file_size_bytes, a.file_hash_sha256
		FROM noggin_schema.noggin_data n JOIN noggin_schema.attachments a ON a.record_tip = n.tip ORDER BY n.inspection_id, a.attachment_sequence`)
	must(nil, err)
	defer func() { _ = rows.Close() }()
	records := map[string]int{}
	for rows.Next() {
		var form, file, hash string
		var sequence int
		var size int64
		row := legacyRow{}
		must(nil, rows.Scan(&row.record, &form, &row.tip, &sequence, &file, &size, &hash))
		n, known := records[row.record]
		if !known {
			n = len(records)
			records[row.record] = n
			must(legacy.ExecContext(m.T.Context(), `INSERT INTO noggin_schema.noggin_data VALUES ($1, $2, 'complete')`, row.record, form))
		}
		row.filename, row.size, row.hash = path.Base(file), size, hash
		now := change(n, &row, file)
		if now != file {
			must(nil, os.MkdirAll(filepath.Dir(fullPath(m, now)), 0o755))
			must(nil, os.Rename(fullPath(m, file), fullPath(m, now)))
			_ = os.Remove(fullPath(m, path.Dir(file)+"/"+forms.ReportName(path.Base(path.Dir(file))[11:])))
			_ = os.Remove(fullPath(m, path.Dir(file))) // once it is empty
		}
		must(legacy.ExecContext(m.T.Context(), `INSERT INTO noggin_schema.attachments VALUES ($1, $2, $3, $4, $5, 'complete', $6, $7, 1.5)`,
			row.record, row.tip, sequence, row.filename, row.path, row.size, row.hash))
	}
	must(nil, rows.Err())
	for _, report := range m.FilesEnding("_inspection_data.txt") {
		must(nil, os.Remove(report))
	}
	db, err := storage.Open(cfg, "process")
	must(nil, err)
	m.T.Cleanup(func() { _ = db.Close() })
	must(db.Init(m.T.Context(), batchtest.Schema(m.T), storage.InitOptions{
		MigrateLegacy: true, Output: m.Output,
		ObjectTypeCodes: map[string]string{"lcd": "LCD", "ccc": "CCC"},
	}))
	m.DB, m.URL = db, cfg.URL
	m.Server.ResetStats()
}

func fullPath(m *batchtest.Mirror, name string) string { return filepath.Join(m.Output, name) }

// checkLegacy compares the database with the disk, and every row with what is there.
func checkLegacy(m *batchtest.Mirror) {
	m.T.Helper()
	v := &validate.Validator{DB: m.DB, Paths: files.Paths{Output: m.Output}, Location: time.Local, DefaultObjectType: "LCD", Types: m.Types, Log: m.Log}
	area, err := v.Files(m.T.Context(), validate.FileOptions{Deep: true})
	if err != nil || len(area.Findings) > 0 {
		m.T.Errorf("files: %v, %+v", err, area.Findings)
	}
}

func TestTheReplacedServicesFilesAreTakenOverWhereverTheyLie(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(n int, row *legacyRow, file string) string{
		"as noggin files them, by absolute path": func(_ int, row *legacyRow, file string) string {
			row.path = "/mnt/data/noggin/output/" + file // the folder had another name
			return file
		},
		"nothing known but the path": func(_ int, row *legacyRow, file string) string {
			row.path, row.size, row.hash = file, nil, nil
			return file
		},
		"folders of its own": func(n int, row *legacyRow, file string) string {
			now := fmt.Sprintf("2025/09/inspection %d/%s", n, path.Base(file))
			row.path, row.hash = now, nil
			return now
		},
		"all in one folder": func(_ int, row *legacyRow, file string) string {
			now := "2025/09/" + path.Base(file)
			row.path, row.hash = now, nil
			return now
		},
		"the manual's columns, filed in another way": func(_ int, row *legacyRow, file string) string {
			row.path, row.hash = nil, nil
			return "photos/by day/" + path.Base(file)
		},
		"moved by hand, all of one name": func(n int, row *legacyRow, _ string) string {
			row.path, row.filename = fmt.Sprintf("2025/09/%d/%s/photo.jpg", n, row.tip), "photo.jpg"
			return fmt.Sprintf("old/%d/%s/photo.jpg", n, row.tip)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewMirror(t, apitest.Options{Records: 6, Forms: []string{"LCD", "CCC"}, Photos: apitest.Fixed(2), Log: true, MediaBytes: apitest.Range{Min: 500, Max: 4000}})
			m.ImportAll()
			first := m.MustRun(process.Options{UntilEmpty: true})
			becomeReplaced(m, change)
			s := m.MustRun(process.Options{UntilEmpty: true, Adopt: true})
			if s.Complete != 6 || s.AttachmentsAdopted != first.AttachmentsDownloaded || s.AttachmentsDownloaded != 0 || m.MediaRequests() != 0 {
				t.Errorf("%+v, first %+v\n%s", s, first, m.Logged)
			}
			m.CheckFiles()
			checkLegacy(m)
			if again := m.MustRun(process.Options{UntilEmpty: true}); again.Claimed != 0 {
				t.Errorf("%+v", again)
			}
		})
	}
}

func TestFilesOfTheReplacedServiceThatAreNotWhatItKnewAreFetchedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(m *batchtest.Mirror, row *legacyRow, file string) string
		left   bool // the file that was there stays beside
		plain  bool // without --adopt
	}{
		"cut short, and recorded so": {func(m *batchtest.Mirror, row *legacyRow, file string) string {
			row.path, row.size, row.hash = file, int64(300), nil
			if err := os.Truncate(fullPath(m, file), 300); err != nil {
				m.T.Error(err)
			}
			return file
		}, true, false},
		"another size": {func(_ *batchtest.Mirror, row *legacyRow, file string) string {
			row.path, row.size, row.hash = file, int64(123), nil
			return file
		}, false, false},
		"another hash": {func(_ *batchtest.Mirror, row *legacyRow, file string) string {
			row.path, row.hash = file, strings.Repeat("0", 64)
			return file
		}, false, false},
		"moved, and nothing known but a name": {func(_ *batchtest.Mirror, row *legacyRow, _ string) string {
			row.path, row.size, row.hash = "2025/01/away/"+row.tip+".jpg", nil, nil
			row.filename = row.tip + ".jpg"
			return "elsewhere/" + row.filename
		}, true, false},
		"in the folder of its record, and nothing known but a name": {func(_ *batchtest.Mirror, row *legacyRow, file string) string {
			row.path, row.size, row.hash = path.Dir(file)+"/"+row.tip+".jpg", nil, nil
			return file
		}, false, true},
		"one path for two": {func(_ *batchtest.Mirror, row *legacyRow, file string) string {
			row.path, row.filename, row.hash = "2025/09/same/photo.jpg", "photo.jpg", nil
			return path.Dir(file) + "/photo " + row.tip + ".jpg"
		}, true, false},
		"moved, all of one name and size": {func(_ *batchtest.Mirror, row *legacyRow, _ string) string {
			row.path, row.filename, row.hash = "2025/09/"+row.tip+"/photo.jpg", "photo.jpg", nil
			return "old/" + row.tip + "/photo.jpg"
		}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewMirror(t, apitest.Options{Records: 1, Forms: []string{"LCD"}, Photos: apitest.Fixed(2), Log: true, MediaBytes: apitest.Fixed(2000)})
			m.ImportAll()
			photos := m.MustRun(process.Options{UntilEmpty: true}).AttachmentsDownloaded
			becomeReplaced(m, func(_ int, row *legacyRow, file string) string { return c.change(m, row, file) })
			before := m.FilesEnding(".jpg")
			s := m.MustRun(process.Options{UntilEmpty: true, Adopt: !c.plain})
			if s.Complete != 1 || s.AttachmentsAdopted != 0 || s.AttachmentsDownloaded != photos {
				t.Errorf("%+v\n%s", s, m.Logged)
			}
			after := m.FilesEnding(".jpg")
			for _, file := range before {
				if !slices.Contains(after, file) {
					t.Errorf("%s is gone", file)
				}
			}
			if grown := len(after) - len(before); c.left != (grown > 0) {
				t.Errorf("%d files more than before: %v", grown, after)
			}
		})
	}
}

func TestAMoveThatWasNotRecordedIsFoundAgain(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 2, Forms: []string{"LCD"}, Photos: apitest.Fixed(2), Log: true})
	m.ImportAll()
	photos := m.MustRun(process.Options{UntilEmpty: true}).AttachmentsDownloaded
	// As a run left it that died: one file has its name, the other does not.
	moved := 0
	becomeReplaced(m, func(_ int, row *legacyRow, file string) string {
		row.path, row.filename, row.hash = "2025/09/"+row.tip+".jpg", row.tip+".jpg", nil
		if moved++; moved%2 == 0 {
			return file
		}
		return row.path.(string) //nolint:forcetypeassert // set above
	})
	s := m.MustRun(process.Options{UntilEmpty: true, Adopt: true})
	if s.AttachmentsAdopted != photos || s.AttachmentsDownloaded != 0 {
		t.Errorf("%+v\n%s", s, m.Logged)
	}
	m.CheckFiles()
	checkLegacy(m)
}

// Nothing says that a file is damaged of which no SHA-256 is known.
func TestAFileOfTheReplacedServiceBesideOtherBytesBecomesAFormerOne(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ext, content string // "": as it was
		size         any
	}{
		"another size": {".jpg", "", int64(123)},
		"nothing proves that its content is whole": {".mp3", "ID3\x04\x00\x00\x00\x00\x02\x00TIT2\x00\x00\x00\x05\x00\x00\x00Song" + strings.Repeat("\x00", 300), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 1))
			m.MustRun(process.Options{UntilEmpty: true})
			var old string
			becomeReplaced(m, func(_ int, row *legacyRow, file string) string {
				old = strings.TrimSuffix(file, ".jpg") + c.ext
				row.path, row.size, row.hash, row.filename = old, c.size, nil, path.Base(old)
				return old
			})
			if c.content != "" {
				batchtest.Must(t, os.WriteFile(fullPath(m, old), []byte(c.content), 0o600))
			}
			tip := m.Server.Record(0).Attachments[0].Tip
			m.Server.Edit(m.Server.Record(0).Tip, apitest.Edit{Replace: []string{tip}})
			for range 2 {
				if s := m.MustRun(process.Options{Selector: m.Only(0)}); s.Complete != 1 {
					t.Errorf("%+v\n%s", s, m.Logged)
				}
			}
			now := m.Value(`SELECT file_path FROM noggin_schema.attachments`)
			if sum, err := batchtest.HashFile(fullPath(m, now)); err != nil || sum != m.Server.MediaSHA256(tip) || path.Ext(now) != ".jpg" || strings.Contains(now, "-again") {
				t.Errorf("the attachment is %s, of SHA-256 %s, %v\n%s", now, sum, err, m.Logged)
			}
			if former := m.Value(`SELECT coalesce(string_agg(path, ' '), '') FROM noggin_schema.former_files WHERE kind = 'attachment'`); former != old {
				t.Errorf("the former file is %q, want %s\n%s", former, old, m.Logged)
			}
			checkLegacy(m)
		})
	}
}

// The replaced service may have recorded one file for two attachments, which look for it at
// the same time.
func TestAFileThatIsRecordedOfTwoAttachmentsIsTakenByOne(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 1, Forms: []string{"LCD"}, Photos: apitest.Fixed(2), Log: true, MediaBytes: apitest.Fixed(2000)})
	m.ImportAll()
	photos := m.MustRun(process.Options{UntilEmpty: true}).AttachmentsDownloaded
	var one any
	becomeReplaced(m, func(_ int, row *legacyRow, file string) string {
		first := one == nil
		if first {
			one = row.hash
		} else if err := os.Remove(fullPath(m, file)); err != nil {
			t.Fatal(err)
		}
		row.path, row.filename, row.hash = "2025/09/photo.jpg", "photo.jpg", one
		if first {
			return "2025/09/photo.jpg"
		}
		return file
	})
	s := m.MustRun(process.Options{UntilEmpty: true, Adopt: true})
	if s.Complete != 1 || s.AttachmentsAdopted != 1 || s.AttachmentsDownloaded != photos-1 {
		t.Errorf("%+v\n%s", s, m.Logged)
	}
	checkLegacy(m)
}

// Another file has its name and size. The recorded one is not searched.
func TestAFileOfTheReplacedServiceThatIsWhereItWasIsUsed(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 2))
	m.MustRun(process.Options{UntilEmpty: true})
	first := true
	becomeReplaced(m, func(_ int, row *legacyRow, file string) string {
		row.hash = nil
		if first {
			first = false
			row.path = "photos/" + row.filename
			content, err := os.ReadFile(fullPath(m, file))
			batchtest.Must(t, err, os.MkdirAll(fullPath(m, "2024"), 0o755))
			content[len(content)/2] ^= 1
			batchtest.Must(t, os.WriteFile(fullPath(m, "2024/"+row.filename), content, 0o600))
			return "photos/" + row.filename
		}
		row.path = "2025/09/" + row.filename // which begins a search
		return "old/" + row.filename
	})
	if s := m.MustRun(process.Options{UntilEmpty: true, Adopt: true}); s.AttachmentsAdopted != 2 || s.AttachmentsDownloaded != 0 {
		t.Errorf("%+v\n%s", s, m.Logged)
	}
	for _, a := range m.Server.Record(0).Attachments {
		if sum := m.Value(`SELECT file_hash_sha256 FROM noggin_schema.attachments WHERE attachment_tip = '` + a.Tip + `'`); sum != m.Server.MediaSHA256(a.Tip) {
			t.Errorf("%s has other bytes\n%s", a.Tip, m.Logged)
		}
	}
}
