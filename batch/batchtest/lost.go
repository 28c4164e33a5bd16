package batchtest

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// nothing is the SHA-256 of an empty file.
const nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// LostFiles looks for each file that a database has: on disk below output or, where it is
// in an archive, there. It shares no code with noggin. It returns what is missing or
// damaged, a line each.
func LostFiles(ctx context.Context, db *sql.DB, output string) (lost []string, err error) {
	rows, err := db.QueryContext(ctx, `
		SELECT file_path, file_hash_sha256, coalesce(a.path, ''), false FROM noggin_schema.attachments
			LEFT JOIN noggin_schema.archives a ON a.id = archive_id WHERE attachment_status = 'complete'
		UNION ALL
		SELECT report_path, report_hash_sha256, coalesce(a.path, ''), names_stale OR processing_status <> 'complete' FROM noggin_schema.noggin_data
			LEFT JOIN noggin_schema.archives a ON a.id = report_archive_id WHERE report_path IS NOT NULL
		UNION ALL
		SELECT f.path, f.hash_sha256, coalesce(a.path, ''), false FROM noggin_schema.former_files f
			LEFT JOIN noggin_schema.archives a ON a.id = archive_id`)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	// A report that was archived before a newer one took its name has its old name there,
	// so the SHA-256 counts.
	held := map[string]map[string]bool{} // by archive
	for rows.Next() {
		var path, sum, archive string
		var stale bool // a run may have written a newer report and not said so yet
		if err := rows.Scan(&path, &sum, &archive, &stale); err != nil {
			return lost, err
		}
		got, err := HashFile(filepath.Join(output, path))
		if got == sum || stale && got != "" && got != nothing {
			continue
		}
		if archive == "" {
			lost = append(lost, fmt.Sprintf("%s: SHA-256 %s instead of %s (%v)", path, got, sum, err))
			continue
		}
		if held[archive] == nil {
			held[archive] = map[string]bool{}
			members, err := ReadArchive(archive)
			if err != nil {
				lost = append(lost, fmt.Sprintf("%s, with %s alone: %v", archive, path, err))
			}
			for _, member := range members {
				held[archive][member] = true
			}
		}
		if !held[archive][sum] {
			lost = append(lost, fmt.Sprintf("%s is neither on disk nor in %s", path, archive))
		}
	}
	return lost, rows.Err()
}

// HashFile returns the SHA-256 of a file in hex digits; "" with the error where the file
// cannot be opened.
func HashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

// ReadArchive returns the SHA-256 of an archive's files by name.
func ReadArchive(path string) (map[string]string, error) {
	members := map[string]string{}
	f, err := os.Open(path)
	if err != nil {
		return members, err
	}
	defer func() { _ = f.Close() }()
	unpacked, err := zstd.NewReader(f)
	if err != nil {
		return members, err
	}
	defer unpacked.Close()
	for files := tar.NewReader(unpacked); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return members, nil
		}
		if err != nil {
			return members, fmt.Errorf("read %s: %w", path, err)
		}
		h := sha256.New()
		if _, err := io.Copy(h, files); err != nil {
			return members, fmt.Errorf("read %s: %w", path, err)
		}
		members[header.Name] = hex.EncodeToString(h.Sum(nil))
	}
}
