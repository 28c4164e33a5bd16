package main

import (
	"context"
	"fmt"
	"strings"

	"noggin/storage/storagetest"
)

// benchReports compares every report on a large database with the same report on a
// small one, and the export of all inspections with COPY of the same query.
func benchReports(ctx context.Context, b *bench) error {
	small, err := b.filledMirror(ctx, 10_000)
	if err != nil {
		return err
	}
	defer small.close()
	records := b.size(1_000_000)
	large, err := b.filledMirror(ctx, records)
	if err != nil {
		return err
	}
	defer large.close()
	for _, report := range []string{
		"status", "queue", "daily", "errors", "performance", "failed", "attachments", "storage", "runs", "circuit", "database",
	} {
		var times [2][]float64
		for range b.rounds {
			for i, m := range []*mirror{large, small} {
				c, err := m.run(ctx, "report", report, "--format", "json")
				if err != nil {
					return err
				}
				times[i] = append(times[i], c.wall.Seconds()*1e3)
			}
		}
		b.compare(fmt.Sprintf("report %s, %d records", report, records), "ms", times[0], "10000 records", times[1])
	}
	return b.exportInspections(ctx, large, records)
}

func (b *bench) exportInspections(ctx context.Context, m *mirror, records int) error {
	const query = `SELECT lcd_inspection_id, inspection_date, vehicle, trailer, department, team, load_compliance, total_attachments,
		processing_status, object_type, tip FROM noggin_schema.noggin_data
		WHERE inspection_date BETWEEN '2000-01-01' AND '2100-01-01' ORDER BY inspection_date DESC`
	var ours, copied []float64
	for range b.rounds {
		c, err := m.run(ctx, "report", "inspections", "--from", "2000-01-01", "--to", "2100-01-01", "--format", "csv")
		if err != nil {
			return err
		}
		ours = append(ours, c.wall.Seconds()*1e3)
		if c, err = measure(ctx, nil, "psql", m.database, "-qc", "COPY ("+strings.Join(strings.Fields(query), " ")+") TO STDOUT CSV HEADER"); err != nil {
			return err
		}
		copied = append(copied, c.wall.Seconds()*1e3)
	}
	b.compare(fmt.Sprintf("report inspections, %d rows", records), "ms", ours, "psql COPY", copied)
	return nil
}

// filledMirror makes an installation with generated records, three attachments each,
// and an error for every fifth.
func (b *bench) filledMirror(ctx context.Context, records int) (*mirror, error) {
	m, err := b.newMirror(ctx, nil, "")
	if err != nil {
		return nil, err
	}
	return m, storagetest.Fill(ctx, m.database, storagetest.FillOptions{Records: records, Attachments: 3 * records, Errors: records / 5, Pending: 1})
}
