package report

import (
	"context"
	"strings"
	"time"

	"noggin/batch/archive/watch"
	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/storage"
)

// addState adds the flags and what the dashboard's figures do not tell.
func (r *reporter) addState(ctx context.Context, m *metrics, s statusReport) error {
	m.gauge("build_info", "1, with the version of the program that wrote this.", "version").set(1, r.Version)
	m.gauge("written_timestamp_seconds", "When these figures were read.").set(seconds(s.At))
	flags := m.gauge("flags", "How many flags of that name `noggin report` raises; absent when none.", "name", "severity")
	for _, f := range s.Attention {
		flags.add(1, f.Name, f.Severity)
	}
	errors := m.gauge("last_day_errors", "Errors of the last 24 hours, by type.", "type")
	for _, e := range s.ErrorsLastDay {
		errors.set(float64(e.Occurrences), e.Type)
	}
	attachments := m.gauge("attachments_by_status", "Attachments by status; former ones are those of former versions of records.", "status")
	for _, f := range s.Files {
		attachments.set(float64(f.Files), string(f.Status))
	}
	if err := r.addVersions(ctx, m.gauge("former_versions", "Former versions of records that are kept, as PostgreSQL estimates them.")); err != nil {
		return err
	}
	addArchives(m, s.Archives)
	addCopies(m, s.Copies)
	addSealed(m, s.Sealed)
	free := m.gauge("volume_free_bytes", "Free space of each volume that noggin uses.", "folders", "mount")
	size := m.gauge("volume_size_bytes", "Size of each volume that noggin uses.", "folders", "mount")
	inodes := m.gauge("volume_inodes_used_ratio", "Share of the volume's inodes in use, 0 to 1.", "folders", "mount")
	volumes, err := files.Volumes(r.Config.Batch.Paths.Places())
	if err != nil {
		r.Log.Warn("a volume is left out of the metrics", "error", err)
	}
	for _, v := range volumes {
		folders := strings.Join(v.Keys, ",")
		free.set(float64(v.Free), folders, v.Mount)
		size.set(float64(v.Total), folders, v.Mount)
		inodes.set(v.Inodes/100, folders, v.Mount)
	}
	return nil
}

// addCopies adds how far the copies in each target are.
func addCopies(m *metrics, copies []health.Copies) {
	share := m.gauge("copied_files_ratio", "Share of the database's files that is copied to the target, 0 to 1.", "target")
	due := m.gauge("copy_due_files", "Files that wait to be copied to the target; 100,001 stands for more.", "target")
	oldest := m.gauge("copy_oldest_due_timestamp_seconds", "Since when the oldest file waits to be copied; absent when none does.", "target")
	damaged := m.gauge("copies_damaged", "Copies that the last verification found missing or damaged.", "target")
	verified := m.gauge("copies_verified_since_timestamp_seconds", "Since when every copy was verified, or made; absent when there is none.", "target")
	for _, c := range copies {
		share.set(c.Percent/100, c.Name())
		due.set(float64(c.Due), c.Name())
		damaged.set(float64(c.Damaged), c.Name())
		if c.DueSince != nil {
			oldest.set(seconds(*c.DueSince), c.Name())
		}
		if c.VerifiedSince != nil {
			verified.set(seconds(*c.VerifiedSince), c.Name())
		}
	}
}

// addSealed adds how far sealing has come, once it has begun.
func addSealed(m *metrics, s storage.SealState) {
	leaves := m.gauge("sealed_versions", "Record versions in the log of `noggin seal`.")
	due := m.gauge("seal_due_records", "Records that wait to be sealed; 10,000 stands for more.")
	oldest := m.gauge("seal_oldest_due_timestamp_seconds", "Since when the oldest record waits to be sealed; absent when none does.")
	sealed := m.gauge("sealed_timestamp_seconds", "When the newest checkpoint was made.")
	published := m.gauge("seal_published_timestamp_seconds", "When [seal] publish took the newest checkpoint; absent when it did not.")
	if s.Logs == 0 {
		return
	}
	leaves.set(float64(s.Size))
	due.set(float64(s.Due))
	for g, at := range map[*family]*time.Time{oldest: s.DueSince, sealed: s.SealedAt, published: s.PublishedAt} {
		if at != nil {
			g.set(seconds(*at))
		}
	}
}

func (r *reporter) addVersions(ctx context.Context, versions *family) error {
	tables, err := r.DB.TableStates(ctx)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if t.Table == "record_versions" {
			versions.set(float64(t.Rows))
		}
	}
	return nil
}

// addArchives adds what a look at the files of the archives found.
func addArchives(m *metrics, t health.ArchiveTotals) {
	archives := m.gauge("archives", "Archives by what a look at their files found.", "file")
	for file, n := range map[watch.Sight]int{
		watch.There: t.There, watch.Missing: t.Missing, watch.WrongSize: t.WrongSize, watch.Unmounted: t.Unmounted, watch.Elsewhere: t.Elsewhere, watch.Lost: t.Lost,
	} {
		archives.set(float64(n), strings.ReplaceAll(string(file), " ", "_"))
	}
	m.gauge("archives_size_bytes", "Size of all archives, as they were written.").set(float64(t.Bytes))
	m.gauge("damaged_archives", "Archives that a verification found damaged, and that were not mended since.").set(float64(t.Damaged))
	oldest := m.gauge("archive_oldest_verification_timestamp_seconds", "When the archive was verified whose verification is the longest ago; absent without archives.")
	if t.OldestVerification != nil {
		oldest.set(seconds(*t.OldestVerification))
	}
}
