package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"noggin/batch/copies/place/s3test"
)

const (
	copiedFiles = 10    // of each record
	copiedBytes = 4_000 // of each file
)

// benchCopy compares copy run of many small files to an S3 server with rclone on the same
// server, and counts the requests. Without rclone it stands alone.
func benchCopy(ctx context.Context, b *bench) (err error) {
	server, err := s3test.New()
	if err != nil {
		return err
	}
	defer server.Close()
	m, err := b.newMirror(ctx, nil, fmt.Sprintf("[copy]\nto = \"s3://noggin/mirror\"\nendpoint = %q\npath_style = true\n", server.URL))
	if err != nil {
		return err
	}
	defer m.close()
	m.env = append(m.env, "AWS_ACCESS_KEY_ID="+s3test.KeyID, "AWS_SECRET_ACCESS_KEY="+s3test.Secret)
	records := b.size(10_000)
	output := filepath.Join(m.folder, "output")
	if err := m.smallFiles(ctx, output, records); err != nil {
		return err
	}
	rclone, _ := exec.LookPath("rclone")
	files := float64(records * copiedFiles)
	seconds, others, memory, requests := []float64{}, []float64{}, []float64{}, []float64{}
	for round := range b.rounds {
		bucket := fmt.Sprintf("rclone%d", round)
		err := errors.Join(server.NewBucket(ctx, bucket, false), os.RemoveAll(server.Path("noggin", "")), server.NewBucket(ctx, "noggin", false), settle(ctx))
		if err != nil {
			return err
		}
		for _, statement := range []string{`DELETE FROM noggin_schema.copy_targets`, `DELETE FROM noggin_schema.copies_due`, `DELETE FROM noggin_schema.copies`} {
			if err := m.exec(ctx, statement); err != nil {
				return err
			}
		}
		before := server.Requests.Load()
		c, err := m.run(ctx, "copy", "run", "--no-progress")
		if err != nil {
			return err
		}
		if want := fmt.Sprintf("copied    %d files", int(files)); !strings.Contains(strings.ReplaceAll(c.stdout, ",", ""), want) {
			return fmt.Errorf("copy run did not copy all files:\n%s", c.stdout)
		}
		seconds, memory = append(seconds, files*copiedBytes/1e6/c.wall.Seconds()), append(memory, float64(c.maxRSS)/(1<<20))
		requests = append(requests, float64(server.Requests.Load()-before)/files)
		if rclone == "" {
			continue
		}
		if err := settle(ctx); err != nil {
			return err
		}
		c, err = measure(ctx, []string{
			"AWS_CA_BUNDLE=", "RCLONE_CONFIG_N_TYPE=s3", "RCLONE_CONFIG_N_PROVIDER=Other", "RCLONE_CONFIG_N_ENDPOINT=" + server.URL,
			"RCLONE_CONFIG_N_ACCESS_KEY_ID=" + s3test.KeyID, "RCLONE_CONFIG_N_SECRET_ACCESS_KEY=" + s3test.Secret, "RCLONE_CONFIG_N_REGION=us-east-1",
		}, rclone, "copy", "--checksum", "--transfers", "8", "--checkers", "8", "--exclude", ".noggin*/**", "--exclude", ".noggin*", output, "N:"+bucket+"/mirror")
		if err != nil {
			return err
		}
		others = append(others, files*copiedBytes/1e6/c.wall.Seconds())
	}
	what := fmt.Sprintf("copy run, %.0f files of %d bytes to S3", files, copiedBytes)
	if rclone == "" {
		b.state(what, "MB/s", seconds)
	} else {
		b.compare(what, "MB/s", seconds, "rclone copy --checksum", others)
	}
	b.state(what+", requests a file", "", requests)
	b.state(what+", peak memory", "MiB", memory)
	return nil
}

// smallFiles makes complete records with small files. The server makes the rows: a file's
// content is its path, filled up with spaces.
func (m *mirror) smallFiles(ctx context.Context, output string, records int) error {
	for _, statement := range []string{
		`INSERT INTO noggin_schema.noggin_data (tip, object_type, processing_status, inspection_id, inspection_date, folder)
		SELECT lpad(to_hex(i), 64, '0'), 'LCD', 'complete', 'LCD - ' || i, '2024-03-01', '2024/03/' || i FROM generate_series(1, $1::int) AS i`,
		`INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name, file_path, attachment_status, file_size_bytes, file_hash_sha256)
		SELECT lpad(to_hex(i), 64, '0'), n::text, n, 'photos', '2024/03/' || i || '/' || n || '.jpg', 'complete', $2::int,
		       encode(sha256(convert_to(rpad('2024/03/' || i || '/' || n || '.jpg', $2::int), 'UTF8')), 'hex')
		FROM generate_series(1, $1::int) AS i, generate_series(1, ` + strconv.Itoa(copiedFiles) + `) AS n`,
	} {
		args := []any{records}
		if strings.Contains(statement, "$2") {
			args = append(args, copiedBytes)
		}
		if err := m.exec(ctx, statement, args...); err != nil {
			return err
		}
	}
	for i := range records {
		folder := fmt.Sprintf("2024/03/%d", i+1)
		if err := os.MkdirAll(filepath.Join(output, folder), 0o755); err != nil {
			return err
		}
		for n := range copiedFiles {
			name := fmt.Sprintf("%s/%d.jpg", folder, n+1)
			if err := os.WriteFile(filepath.Join(output, name), fmt.Appendf(nil, "%-*s", copiedBytes, name), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
