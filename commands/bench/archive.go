package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	archivedPhotos = 10      // of each record
	photoBytes     = 400_000 // of each photograph
)

// benchArchive compares archive create with tar and a compressor over the same files.
// archive create also reads the archive back from the disk and hashes both sides. tar
// checks nothing; it is measured with and without a flush of what it wrote.
func benchArchive(ctx context.Context, b *bench) error {
	for _, tool := range []string{"tar", "zstd", "gzip"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: .ci/setup installs it", err)
		}
	}
	m, err := b.newMirror(ctx, nil, "")
	if err != nil {
		return err
	}
	defer m.close()
	records := b.size(500)
	pristine := filepath.Join(m.folder, "pristine")
	if err := m.photographed(ctx, pristine, records, 1); err != nil {
		return err
	}
	seconds := map[string][]float64{}
	for range b.rounds {
		for name, line := range map[string]string{
			"zstd": `tar -cf - -C "$1" . | zstd -q -T0 -3 -o "$2"`,
			"gzip": `tar -czf "$2" -C "$1" .`,
			"disk": `tar -cf - -C "$1" . | zstd -q -T0 -3 -o "$2" && sync "$2"`,
		} {
			to := filepath.Join(m.folder, "other")
			if err := settle(ctx); err != nil {
				return err
			}
			c, err := measure(ctx, nil, "sh", "-c", line, "sh", pristine, to)
			if err := errors.Join(err, os.Remove(to)); err != nil {
				return err
			}
			seconds[name] = append(seconds[name], c.wall.Seconds())
			seconds[name+" CPU"] = append(seconds[name+" CPU"], c.cpu.Seconds())
		}
		if err := m.unarchived(ctx, pristine); err != nil {
			return err
		}
		if err := settle(ctx); err != nil {
			return err
		}
		c, err := m.run(ctx, "archive", "create", "--before", "2100-01-01", "--no-progress")
		if err != nil {
			return err
		}
		if !strings.Contains(c.stdout, fmt.Sprintf("removed  %d records", records)) {
			return fmt.Errorf("archive create did not archive all records:\n%s", c.stdout)
		}
		seconds["noggin"] = append(seconds["noggin"], c.wall.Seconds())
		seconds["noggin CPU"] = append(seconds["noggin CPU"], c.cpu.Seconds())
		seconds["memory"] = append(seconds["memory"], float64(c.maxRSS)/(1<<20))
	}
	what := fmt.Sprintf("archive create, %.1f GB of photographs", float64(records)*archivedPhotos*photoBytes/1e9)
	b.compare(what, "s", seconds["noggin"], "tar | zstd -T0 -3", seconds["zstd"])
	b.compare(what, "s", seconds["noggin"], "the same, flushed", seconds["disk"])
	b.compare(what+", CPU", "s", seconds["noggin CPU"], "tar | zstd -T0 -3", seconds["zstd CPU"])
	b.compare(what, "s", seconds["noggin"], "tar czf", seconds["gzip"])
	b.state(what+", peak memory", "MiB", seconds["memory"])
	return nil
}

// settle flushes earlier writes, so that they do not slow the next measurement.
func settle(ctx context.Context) error {
	_, err := measure(ctx, nil, "sync")
	return err
}

// photographed makes complete records of some months, and their files in folder.
func (m *mirror) photographed(ctx context.Context, folder string, records, months int) error {
	noise := rand.NewChaCha8([32]byte{1})
	photo := make([]byte, photoBytes)
	for i := range records {
		date := time.Date(2024, time.Month(3+i%months), 1+i%28, 0, 0, 0, 0, time.UTC)
		day, id := date.Format(time.DateOnly), fmt.Sprintf("LCD-%06d", i)
		dir := fmt.Sprintf("%s/%s %s", date.Format("2006/01"), day, id)
		if err := os.MkdirAll(filepath.Join(folder, dir), 0o755); err != nil {
			return err
		}
		tip, report := fmt.Sprintf("%064x", i), dir+"/"+id+"_inspection_data.txt"
		size, sum, err := writeFile(filepath.Join(folder, report), []byte(strings.Repeat("an answer\n", 400)))
		if err != nil {
			return err
		}
		if err := m.exec(ctx, `INSERT INTO noggin_schema.noggin_data (tip, object_type, processing_status, inspection_id, inspection_date,
			folder, report_path, report_size_bytes, report_hash_sha256) VALUES ($1, 'LCD', 'complete', $2, $3, $4, $5, $6, $7)`,
			tip, id, day, dir, report, size, sum); err != nil {
			return err
		}
		for n := range archivedPhotos {
			_, _ = noise.Read(photo) // it never fails
			name := fmt.Sprintf("%s/%s_photo_%03d.jpg", dir, id, n+1)
			size, sum, err := writeFile(filepath.Join(folder, name), photo)
			if err != nil {
				return err
			}
			if err := m.exec(ctx, `INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name, filename,
				file_path, attachment_status, file_size_bytes, file_hash_sha256) VALUES ($1, $2, $3::int, 'attachments', $4, $5, 'complete', $6, $7)`,
				tip, fmt.Sprintf("%s%02d", tip[:60], n), n+1, filepath.Base(name), name, size, sum); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeFile(name string, content []byte) (size int, sum string, err error) {
	hash := sha256.Sum256(content)
	return len(content), hex.EncodeToString(hash[:]), os.WriteFile(name, content, 0o644)
}

// unarchived undoes an archive create. The files come back as hard links, so that
// they are cached in memory as those that tar reads.
func (m *mirror) unarchived(ctx context.Context, pristine string) error {
	for _, statement := range []string{
		`UPDATE noggin_schema.attachments SET archive_id = NULL`,
		`UPDATE noggin_schema.noggin_data SET archived = false, archived_at = NULL, report_archive_id = NULL`,
		`DELETE FROM noggin_schema.archives`,
	} {
		if err := m.exec(ctx, statement); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(filepath.Join(m.folder, "archive")); err != nil {
		return err
	}
	_, err := measure(ctx, nil, "cp", "-al", pristine+"/.", filepath.Join(m.folder, "output"))
	return err
}
