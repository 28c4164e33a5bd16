package seal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/process"
)

// Bytes that returned are in two files. Each is read, and one is enough where the other was
// given up with its archive.
func TestEachFileWithTheBytesOfALeafIsRead(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 1)
	record := s.Server.Record(0)
	changed := record.Attachments[0].Tip
	compare := process.Options{Refresh: true, Media: true, UntilEmpty: true}
	s.Server.Edit(record.Tip, apitest.Edit{Replace: []string{changed}})
	s.MustRun(compare)
	s.seal()
	s.Server.SetFaults(apitest.Fault{Kind: "stale", On: apitest.OnMedia, Tips: []string{changed}})
	s.MustRun(compare)
	s.Execute(`UPDATE noggin_schema.attachments SET former_served_at = former_served_at - interval '1 day'; UPDATE noggin_schema.refreshes SET due_at = now()`)
	s.MustRun(process.Options{UntilEmpty: true})
	if n := s.seal().Leaves; n != 1 {
		t.Errorf("%d leaves are added for the bytes that returned", n)
	}
	if area := s.look(); len(area.Findings) > 0 {
		t.Errorf("found %+v", area.Findings)
	}
	current := s.Value(`SELECT file_path FROM noggin_schema.attachments WHERE attachment_tip = '` + changed + `'`)
	former := s.Value(`SELECT f.path FROM noggin_schema.former_files f JOIN noggin_schema.attachments a
		ON a.attachment_tip = f.attachment_tip AND a.file_hash_sha256 = f.hash_sha256`)
	for _, path := range []string{current, former} {
		at := filepath.Join(s.Output, path)
		batchtest.Must(t, os.Rename(at, at+".away"))
		if f := finding(s.look(), "file"); f.Count == 0 || !strings.HasSuffix(f.Examples[0], path+" is missing") {
			t.Errorf("without %s found: %+v", path, f)
		}
		batchtest.Must(t, os.Rename(at+".away", at))
	}
	s.Execute(`INSERT INTO noggin_schema.archives (name, path, month, state, lost_at, lost_reason) VALUES ('x.tar.zst', '/gone', '2025-03', 'done', now(), 'the disk died')`)
	const lost = ` SET archive_id = (SELECT id FROM noggin_schema.archives) WHERE `
	s.Execute(`UPDATE noggin_schema.attachments` + lost + `file_path = '` + current + `'`)
	if area := s.look(); len(area.Findings) > 0 {
		t.Errorf("one of both is there, and found is %+v", area.Findings)
	}
	s.Execute(`UPDATE noggin_schema.former_files` + lost + `path = '` + former + `'`)
	if f := finding(s.look(), "lost"); f.Count == 0 {
		t.Error("both are lost, and it is not told")
	}
}
