package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"noggin/api/apitest"
	"noggin/storage/storagetest"
)

// benchRefresh compares runs beside very many complete records, which are all asked for
// again some day, with the same runs beside few: one that finds nothing due, and one that
// asks for 1,000 records again. Then it compares the upgrade of such a database from
// version 1 of the schema.
func benchRefresh(ctx context.Context, b *bench) error {
	const due = 1000
	sizes := [2]int{b.size(1_000_000), 10_000}
	var idle, statements, asked, cpu, upgrade [2][]float64
	for i, records := range sizes {
		m, simulated, err := b.refreshedMirror(ctx, storagetest.FillOptions{Records: records, Attachments: records}, due)
		if err != nil {
			return err
		}
		if err := m.addVersions(ctx); err != nil {
			return err
		}
		for range b.rounds {
			c, calls, err := m.counted(ctx, "process", "--until-empty")
			if err != nil {
				return err
			}
			idle[i], statements[i] = append(idle[i], c.wall.Seconds()*1e3), append(statements[i], calls)
			if err := m.exec(ctx, `UPDATE noggin_schema.refreshes SET due_at = now() WHERE record_tip IN
				(SELECT tip FROM noggin_schema.noggin_data WHERE source_filename = 'due')`); err != nil {
				return err
			}
			if c, err = m.run(ctx, "process", "--until-empty", "--format", "json"); err != nil {
				return err
			}
			var summary struct {
				Unchanged int `json:"unchanged"`
			}
			if err := json.Unmarshal([]byte(c.stdout), &summary); err != nil {
				return err
			}
			if summary.Unchanged != due {
				return fmt.Errorf("%d records were asked again: %s", summary.Unchanged, c.stdout)
			}
			asked[i], cpu[i] = append(asked[i], c.wall.Seconds()), append(cpu[i], c.cpu.Seconds()*1e3/due)
		}
		m.close()
		simulated.Close()
	}
	for range b.rounds {
		for i, records := range sizes {
			took, err := b.upgradeFromVersion1(ctx, records)
			if err != nil {
				return err
			}
			upgrade[i] = append(upgrade[i], took)
		}
	}
	beside := fmt.Sprintf("beside %d", sizes[1])
	b.compare(fmt.Sprintf("idle run beside %d complete records", sizes[0]), "ms", idle[0], beside, idle[1])
	b.compare("the same, statements", "", statements[0], beside, statements[1])
	b.compare(fmt.Sprintf("%d records asked again beside %d", due, sizes[0]), "s", asked[0], beside, asked[1])
	b.compare("the same, CPU a record", "ms", cpu[0], beside, cpu[1])
	b.compare(fmt.Sprintf("upgrade from version 1, %d records", sizes[0]), "s", upgrade[0], strconv.Itoa(sizes[1]), upgrade[1])
	return nil
}

// refreshedMirror makes an installation with generated complete records, which are due at
// some time of the next 30 days, and due more that the simulated API knows.
func (b *bench) refreshedMirror(ctx context.Context, fill storagetest.FillOptions, due int) (*mirror, *apitest.Server, error) {
	simulated := apitest.New(apitest.Options{Records: due, Photos: apitest.None})
	if err := simulated.Listen("127.0.0.1:0"); err != nil {
		return nil, nil, err
	}
	m, err := b.newMirror(ctx, simulated, "concurrency = 16")
	if err != nil {
		return nil, nil, err
	}
	if err := m.enqueue(ctx, simulated); err != nil {
		return nil, nil, err
	}
	for left := due; left > 0; {
		if _, err := m.run(ctx, "process", "--until-empty"); err != nil {
			return nil, nil, err
		}
		if err := m.db.QueryRowContext(ctx, `SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status <> 'complete'`).Scan(&left); err != nil {
			return nil, nil, err
		}
	}
	if err := m.exec(ctx, `CREATE EXTENSION IF NOT EXISTS pg_stat_statements; SET noggin.client = on;
		UPDATE noggin_schema.noggin_data SET source_filename = 'due'`); err != nil {
		return nil, nil, err
	}
	if err := storagetest.Fill(ctx, m.database, fill); err != nil {
		return nil, nil, err
	}
	for _, statement := range []string{
		`SET noggin.client = on; UPDATE noggin_schema.noggin_data SET processing_status = 'skipped' WHERE processing_status <> 'complete'`,
		bulk + `INSERT INTO noggin_schema.refreshes (record_tip, due_at, version_at)
		 SELECT tip, now() + (0.1 + random()) * interval '30 days', now() FROM noggin_schema.noggin_data WHERE processing_status = 'complete' ON CONFLICT DO NOTHING`,
		`VACUUM (ANALYZE) noggin_schema.noggin_data`, `VACUUM (ANALYZE) noggin_schema.refreshes`,
	} {
		if err := m.exec(ctx, statement); err != nil {
			return nil, nil, err
		}
	}
	return m, simulated, nil
}

// addVersions keeps a first version of each generated answer. All have one body, as the
// server cannot compress.
func (m *mirror) addVersions(ctx context.Context) error {
	body := []byte(`{"$meta": {"modifiedDate": "2026-01-02T03:04:05.678Z"}, "filler": "` + strings.Repeat("0123456789abcdef", 24) + `"}`)
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	_, err := w.Write(body)
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	if err := m.exec(ctx, fmt.Sprintf(bulk+`INSERT INTO noggin_schema.record_versions (record_tip, version, kind, payload_sha256, answer, size_bytes, hash_sha256)
		SELECT tip, 1, 'version', sha256(convert_to(payload::text, 'UTF8')), decode('%x', 'hex'), %d, '%x'
		FROM noggin_schema.noggin_data WHERE processing_status = 'complete' ON CONFLICT DO NOTHING`, compressed.Bytes(), len(body), sha256.Sum256(body))); err != nil {
		return err
	}
	return m.exec(ctx, `VACUUM (ANALYZE) noggin_schema.record_versions`)
}

// upgradeFromVersion1 returns the seconds that init-db takes on a database of version 1.
func (b *bench) upgradeFromVersion1(ctx context.Context, records int) (float64, error) {
	m, err := b.newMirror(ctx, nil, "")
	if err != nil {
		return 0, err
	}
	defer m.close()
	schema, err := os.ReadFile("storage/testdata/schema-v1.sql")
	if err != nil {
		return 0, err
	}
	if err := m.exec(ctx, `DROP SCHEMA noggin_schema CASCADE; CREATE SCHEMA noggin_schema; `+string(schema)+`; INSERT INTO noggin_schema.schema_version (version) VALUES (1)`); err != nil {
		return 0, err
	}
	if err := storagetest.Fill(ctx, m.database, storagetest.FillOptions{Records: records, Attachments: records}); err != nil {
		return 0, err
	}
	c, err := m.run(ctx, "init-db")
	return c.wall.Seconds(), err
}
