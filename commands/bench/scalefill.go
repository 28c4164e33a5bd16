package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"noggin/api/apitest"
	"noggin/batch/seal/tree"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// scaleMirror makes an installation in which every table has the rows that so many
// records would have left in it. The records were completed, copied and sealed; a
// thirtieth was skipped. The simulated API knows a few records more.
func (b *bench) scaleMirror(ctx context.Context, records int) (*mirror, *apitest.Server, error) {
	m, simulated, err := b.refreshedMirror(ctx, storagetest.FillOptions{Records: records, Attachments: 3 * records, Errors: records / 5, Bulk: true}, 10)
	if err != nil {
		return nil, nil, err
	}
	fill, filling := errgroup.WithContext(ctx)
	fill.Go(func() error { return m.addWords(filling, records) })
	fill.Go(func() error { return m.addCopies(filling) })
	fill.Go(func() error {
		if err := m.addVersions(filling); err != nil {
			return err
		}
		return m.sealAll(filling)
	})
	if err = fill.Wait(); err == nil {
		err = m.recount(ctx)
	}
	if err != nil {
		return nil, nil, errors.Join(err, m.db.Close())
	}
	return m, simulated, nil
}

// settings changes settings of the server and restarts it. Without any it has those
// again with which the benchmark started it.
func (b *bench) settings(ctx context.Context, settings ...string) error {
	db, err := sql.Open("postgres", b.server.URL("postgres"))
	if err != nil {
		return err
	}
	statements := []string{`ALTER SYSTEM RESET ALL`}
	for _, s := range settings {
		statements = append(statements, `ALTER SYSTEM SET `+s)
	}
	for _, s := range statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", s, err), db.Close())
		}
	}
	return errors.Join(db.Close(), b.server.Restart())
}

// addCopies makes a verified copy of every file.
func (m *mirror) addCopies(ctx context.Context) error {
	for _, statement := range []string{
		bulk + `INSERT INTO noggin_schema.copies (target_id, path, hash_sha256, size_bytes, kind, record_tip, copied_at, verified_at)
		 SELECT 1, file_path, file_hash_sha256, file_size_bytes, 'attachment', record_tip, download_completed_at, download_completed_at
		 FROM noggin_schema.attachments WHERE attachment_status = 'complete'`,
		`INSERT INTO noggin_schema.copy_targets (url, walk_after, walked_at, copied_files, copied_bytes)
		 SELECT '` + filepath.Join(m.folder, "copies") + `', NULL, now(), count(*), sum(size_bytes) FROM noggin_schema.copies`,
		`VACUUM (ANALYZE) noggin_schema.copies`,
	} {
		if err := m.exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// recount makes the counts right, which no trigger kept.
func (m *mirror) recount(ctx context.Context) error {
	cfg := storage.DefaultConfig()
	cfg.URL, cfg.StatementTimeout = m.database, 0
	db, err := storage.Open(cfg, "bench")
	if err != nil {
		return err
	}
	for _, check := range storage.Checks(nil, nil) {
		if check.Name == "record_counts" {
			_, err = db.Fix(ctx, check, "")
		}
	}
	return errors.Join(err, db.Close(), m.exec(ctx, `VACUUM (ANALYZE) noggin_schema.record_counts, noggin_schema.file_counts`))
}

// sealAll appends a leaf for each version. The program seals the first few and publishes
// the others. Of millions it would read each record and its files first, which takes hours.
func (m *mirror) sealAll(ctx context.Context) (err error) {
	if err := m.initSeal(ctx); err != nil {
		return err
	}
	if _, err := m.run(ctx, "seal", "--no-progress"); err != nil {
		return err
	}
	secret, err := os.ReadFile(filepath.Join(m.folder, "seal.key"))
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(secret)))
	if err != nil {
		return err
	}
	cfg := storage.DefaultConfig()
	cfg.URL = m.database
	db, err := storage.Open(cfg, "bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	log := sealed{db: db, signer: signer, tiles: tree.NewTiles(func(wanted []storage.SealTile) ([]storage.SealTile, error) { return db.SealTiles(ctx, 1, wanted) })}
	rows, err := m.db.QueryContext(ctx, `SELECT v.record_tip, encode(v.payload_sha256, 'hex'), v.size_bytes FROM noggin_schema.record_versions v
		WHERE NOT EXISTS (SELECT FROM noggin_schema.seal_leaves l WHERE l.record_tip = v.record_tip)`)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // its error is Err's
	for more := true; more; {
		var leaves []storage.SealedLeaf
		for len(leaves) < 10_000 {
			if more = rows.Next(); !more {
				break
			}
			var tip, body string
			var size int
			if err := rows.Scan(&tip, &body, &size); err != nil {
				return err
			}
			leaves = append(leaves, generatedLeaf(tip, body, size))
		}
		if err := log.add(ctx, leaves); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if _, err = m.run(ctx, "seal", "--no-progress"); err != nil {
		return err
	}
	return m.exec(ctx, `VACUUM (ANALYZE) noggin_schema.seal_leaves, noggin_schema.seal_tiles`)
}

// generatedLeaf is a leaf of the size that one with three attachments has.
func generatedLeaf(tip, body string, size int) storage.SealedLeaf {
	const at = "2026-01-02T03:04:05.678901Z"
	claim := sha256.Sum256([]byte(tip))
	var files []string
	for i := range 3 {
		hash := fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, tip, i)))
		files = append(files, fmt.Sprintf(`{"downloaded_at":"%s","sha256":"%s","size":300000,"tip":"%s"}`, at, hash, hash[:32]))
	}
	return storage.SealedLeaf{Tip: tip, Claim: claim[:], Leaf: fmt.Sprintf(`{"attachments":[%s],"body_sha256":"%s","body_size":%d,"body_source":"api","complete":true,`+
		`"fetched_at":"%s","format":"noggin-leaf/1","kind":"version","modified_at":"","sealed_at":"%s","sid":"","tip":"%s"}`, strings.Join(files, ","), body, size, at, at, tip)}
}

// sealed is the log to which leaves are added.
type sealed struct {
	db     *storage.DB
	signer note.Signer
	tiles  *tree.Tiles
	tree   tlog.Tree
}

func (s *sealed) add(ctx context.Context, leaves []storage.SealedLeaf) error {
	if len(leaves) == 0 {
		return nil
	}
	return s.db.Append(ctx, func(tx *storage.SealTx) error {
		logs, err := tx.Logs()
		if err != nil {
			return err
		}
		if s.tree.N == 0 {
			if s.tree, err = signedTree(tx.Head(logs[0].ID)); err != nil {
				return err
			}
		}
		grown, changed, err := tree.Append(s.tree, s.tiles, leaves)
		if err != nil {
			return err
		}
		signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", logs[0].Origin, grown.N, grown.Hash)}, s.signer)
		if err != nil {
			return err
		}
		s.tree = grown
		return tx.Add(logs[0].ID, leaves, changed, storage.SealHead{Size: grown.N, Note: string(signed)})
	})
}

func signedTree(head storage.SealHead, err error) (tlog.Tree, error) {
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(strings.Split(head.Note, "\n")[2])
	return tlog.Tree{N: head.Size, Hash: root}, err
}
