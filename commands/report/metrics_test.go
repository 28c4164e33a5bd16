package report

import (
	"strings"
	"testing"
	"time"

	"noggin/batch/health"
	"noggin/storage"
)

// An alert or a graph of another figure would be silent, or lie.
func TestEachFigureIsUnderItsOwnName(t *testing.T) {
	t.Parallel()
	at := func(second int64) *time.Time { return new(time.Unix(second, 500e6)) }
	run := func(command string, code int, finished int64) storage.RunRow {
		return storage.RunRow{Command: command, ExitCode: &code, FinishedAt: at(finished)}
	}
	s := statusReport{
		PermanentlyFailed: 11, Gone: 12, Queue: storage.QueueDepth{Due: 13, Later: 14, OldestAt: at(15)}, UnknownHashes: []storage.UnknownNames{{EntityType: "team", Hashes: 16}},
		Circuit: circuitState{State: storage.CircuitHalfOpen, TotalRequests: 17, TotalFailures: 18}, Disk: &diskState{Disk: storage.Disk{FreeBytes: 19, TotalBytes: 20}},
		Files:    []fileTotal{{Status: storage.AttachmentFailed, Files: 98, Bytes: 99}, {Status: storage.AttachmentComplete, Files: 21, Bytes: 22}},
		Doubtful: storage.Doubtful{Suspect: 23, Unvalidated: 24}, DatabaseBytes: 25,
		vitals: health.Vitals{
			Totals:    []storage.RecordTotal{{ObjectType: "LCD", Status: storage.StatusFailed, Records: 26}, {ObjectType: "LCD", Status: storage.StatusFailed, PermanentlyFailed: true, Records: 1}},
			Succeeded: []storage.RunRow{run("process", 0, 28)},
		},
	}
	m := metricsOf(s, []storage.RunRow{run("process", 3, 29)})
	addCopies(m, []health.Copies{{CopyTarget: storage.CopyTarget{URL: "/b", Due: 31, DueSince: at(32), Damaged: 33, VerifiedSince: at(34)}, Percent: 35}})
	addSealed(m, storage.SealState{Logs: 1, Size: 41, Due: 42, DueSince: at(43), SealedAt: at(44), PublishedAt: at(45)})
	addArchives(m, health.ArchiveTotals{Archives: 99, Bytes: 51, There: 52, Missing: 53, WrongSize: 54, Unmounted: 55, Elsewhere: 56, Damaged: 57, Lost: 58, OldestVerification: at(59)})
	want := `
api_request_failures_total 18
api_requests_total 17
archive_oldest_verification_timestamp_seconds 59.5
archives{file="elsewhere"} 56
archives{file="lost"} 58
archives{file="missing"} 53
archives{file="not_mounted"} 55
archives{file="there"} 52
archives{file="wrong_size"} 54
archives_size_bytes 51
attachments 21
attachments_size_bytes 22
circuit_state{state="closed"} 0
circuit_state{state="half_open"} 1
circuit_state{state="open"} 0
copied_files_ratio{target="/b"} 0.35
copies_damaged{target="/b"} 33
copies_verified_since_timestamp_seconds{target="/b"} 34.5
copy_due_files{target="/b"} 31
copy_oldest_due_timestamp_seconds{target="/b"} 32.5
damaged_archives 57
database_size_bytes 25
doubtful_attachments{validation="not_validated"} 24
doubtful_attachments{validation="suspect"} 23
due_records 13
gone_records 12
last_exit_code{command="process"} 3
last_success_timestamp_seconds{command="process"} 28.5
oldest_due_timestamp_seconds 15.5
output_free_bytes 19
output_size_bytes 20
paused 0
permanently_failed_records 11
records{object_type="LCD",status="failed"} 27
seal_due_records 42
seal_oldest_due_timestamp_seconds 43.5
seal_published_timestamp_seconds 45.5
sealed_timestamp_seconds 44.5
sealed_versions 41
unknown_hashes{entity_type="team"} 16
waiting_records 14
`
	var got []string
	for line := range strings.Lines(m.text()) {
		if figure, is := strings.CutPrefix(line, "noggin_"); is {
			got = append(got, figure)
		}
	}
	if text := "\n" + strings.Join(got, ""); text != want {
		t.Errorf("got%swant%s", text, want)
	}
}
