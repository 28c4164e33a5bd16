package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"noggin/batch/health"
	"noggin/commands/show"
	"noggin/storage"
)

// tile is a figure of the page. Its tone is "good", "yellow" or "red" where noggin judges
// the figure, else "".
type tile struct {
	Label, Value, Note, Tone string
}

// tilesOf are the figures that come first. The flags that tell of a figure give its tone.
func tilesOf(s statusReport) []tile {
	tone := func(names ...string) string {
		tone := "good"
		for _, flag := range s.Attention {
			if slices.Contains(names, flag.Name) && tone != health.SeverityRed {
				tone = flag.Severity
			}
		}
		return tone
	}
	today := tile{Label: "Complete today", Value: "–", Note: "nothing processed yet"}
	if d := s.Days[0]; d.CompletionRate != nil {
		today = tile{
			today.Label, show.Percent(*d.CompletionRate).Human(), humanize.Comma(d.Complete) + " of " + humanize.Comma(d.Processed) + " records; target: over 95 %",
			tone("failures_rising", "failure_rate", "targets_missed", "media_failing", "slow"),
		}
	}
	due := tile{
		"Due now", humanize.Comma(s.Queue.Due), strings.TrimPrefix(trend(s.Queue.Due, s.DueDayAgo), ", "),
		tone("queue_standing", "queue_growing", "no_activity", "process_silent", "process_failed", "paused"),
	}
	if s.Queue.DueAtLeast {
		due.Value = "over " + due.Value
	}
	activity := tile{"Last activity", "none", "no record was processed yet", tone("no_activity", "process_silent", "process_failed", "timers_stopped", "unit_failed", "credentials_rejected")}
	if s.LastActivity != nil {
		activity.Value, activity.Note = humanize.RelTime(*s.LastActivity, s.At, "ago", "from now"), s.LastActivity.In(s.At.Location()).Format("2006-01-02 15:04")
	}
	circuit := tile{"Circuit", string(s.Circuit.State), health.Plural(s.Circuit.OpeningsToday, "opening") + " today; target: at most 2", tone("circuit_open", "circuit_flapping", "rate_limited")}
	if s.Circuit.State != storage.CircuitClosed && circuit.Tone == "good" {
		circuit.Tone = health.SeverityYellow
	}
	disk := tile{"Output volume", "unknown", "the output folder cannot be used", tone(health.FlagDiskFull, health.FlagNoOutput, "disk_filling")}
	if s.Disk != nil {
		disk.Value, disk.Note = show.Size(s.Disk.FreeBytes).Human()+" free", fmt.Sprintf("%.0f %% used; %s", s.Disk.UsedPercent, s.Disk.growth())
	}
	backup := tile{"Last backup", "never", "", tone("no_backup", "backup_old")}
	if s.LastBackup != nil && s.LastBackup.FinishedAt != nil {
		at := *s.LastBackup.FinishedAt
		backup.Value, backup.Note = humanize.RelTime(at, s.At, "ago", "from now"), at.In(s.At.Location()).Format("2006-01-02 15:04")
	} else if s.Records == 0 {
		backup.Tone = ""
	}
	suspect := tile{"Suspect attachments", humanize.Comma(s.Doubtful.Suspect), humanize.Comma(s.Doubtful.Unvalidated) + " pictures not validated", "good"}
	if s.Doubtful.Suspect > 0 {
		suspect.Tone = health.SeverityYellow
	}
	judged := []tile{today, due, activity, circuit, disk, backup, suspect}
	if s.Archives.Archives > 0 {
		judged = append(judged, tile{
			"Archives", humanize.Comma(int64(s.Archives.Archives)), strings.TrimPrefix(archivesLine(s.Archives, s.At), humanize.Comma(int64(s.Archives.Archives))+", "),
			tone("archive_missing", "archive_wrong_size", "archive_damaged", "archive_unverified", "archives_unmounted"),
		})
	}
	for _, c := range s.Copies {
		note := c.Name()
		if c.DueSince != nil {
			note += "; the oldest waits since " + c.DueSince.In(s.At.Location()).Format("2006-01-02 15:04")
		}
		judged = append(judged, tile{"Copied", show.Percent(c.Percent).Human(), note, tone("copies_damaged", "copies_late", "copies_unverified", "copy_target_away")})
	}
	if s.Sealed.Logs > 0 {
		sealed := tile{"Sealed", humanize.Comma(s.Sealed.Size), humanize.Comma(s.Sealed.Due) + " to seal", tone("seal_old", "seal_unpublished", "seal_new_log", "seal_failed")}
		if s.Sealed.SealedAt != nil {
			sealed.Note += "; the last at " + s.Sealed.SealedAt.In(s.At.Location()).Format("2006-01-02 15:04")
		}
		judged = append(judged, sealed)
	}
	return append(judged, plainTiles(s)...)
}

// plainTiles are figures that nothing judges, but for the permanently failed records.
func plainTiles(s statusReport) []tile {
	var unknown, photographs, size int64
	for _, u := range s.UnknownHashes {
		unknown += u.Hashes
	}
	for _, f := range s.Files {
		if f.Status == storage.AttachmentComplete {
			photographs, size = f.Files, f.Bytes
		}
	}
	failed := tile{Label: "Permanently failed", Value: humanize.Comma(s.PermanentlyFailed), Note: "not tried again by themselves", Tone: "good"}
	if s.PermanentlyFailed > 0 {
		failed.Tone = ""
	}
	for _, flag := range s.Attention {
		if flag.Name == "permanently_failed" {
			failed.Tone = flag.Severity
		}
	}
	waiting := "none is timed"
	if s.Queue.NextAt != nil {
		waiting = "the next at " + s.Queue.NextAt.In(s.At.Location()).Format("15:04") + ", " + humanize.RelTime(*s.Queue.NextAt, s.At, "ago", "from now")
	}
	return []tile{
		failed,
		{"Waiting for a retry", humanize.Comma(s.Queue.Later), waiting, ""},
		{"Records", humanize.Comma(s.Records), shareComplete(s), ""},
		{"Attachments", humanize.Comma(photographs), show.Size(size).Human() + "; database " + show.Size(s.DatabaseBytes).Human(), ""},
		{"Unknown names", humanize.Comma(unknown), "hashes that are shown as they are", ""},
	}
}

func shareComplete(s statusReport) string {
	for _, status := range s.ByStatus {
		if status.Status == storage.StatusComplete && s.Records > 0 {
			return show.Percent(status.Percent).Human() + " complete"
		}
	}
	return "none yet"
}
