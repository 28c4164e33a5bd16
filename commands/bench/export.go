package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"noggin/api/apitest"
)

// exportedBytes is the size of each photograph. The pictures in them are small: what a
// thumbnail of a large one costs is measured by BenchmarkThumbnail in batch/export.
const exportedBytes = 100_000

// benchExport measures export to a folder and to a ZIP, beside a copy with cp and
// sha256sum, the memory of a large export beside that of a small one, and validate bag
// beside sha256sum.
func benchExport(ctx context.Context, b *bench) error {
	const mib = 1 << 20
	sizes := []int{b.size(1000), b.size(10_000)}
	var peaks [2]float64
	for i, records := range sizes {
		m, err := b.photographedRecords(ctx, records)
		if err != nil {
			return err
		}
		defer m.close()
		folder, zipped := filepath.Join(m.folder, "bag"), filepath.Join(m.folder, "bag.zip")
		toFolder, err := m.run(ctx, "export", "--all", "--no-progress", folder)
		if err != nil {
			return err
		}
		peaks[i] = float64(toFolder.maxRSS) / mib
		if i == 0 {
			continue
		}
		copied, err := measure(ctx, nil, "sh", "-c", `cp -a "$1" "$2" && cd "$2" && find . -type f -exec sha256sum {} + > /dev/null`, "sh", filepath.Join(m.folder, "output"), filepath.Join(m.folder, "copy"))
		if err != nil {
			return err
		}
		b.compare(fmt.Sprintf("export of %d records, folder", records), "s", []float64{toFolder.wall.Seconds()}, "cp, sha256sum", []float64{copied.wall.Seconds()})
		b.compare(fmt.Sprintf("peak memory, export of %d, folder", records), "MiB", peaks[1:], fmt.Sprintf("of %d", sizes[0]), peaks[:1])
		checked, err := m.run(ctx, "validate", "bag", "--no-progress", folder)
		if err != nil {
			return err
		}
		summed, err := measure(ctx, nil, "sh", "-c", `cd "$1" && sha256sum -c --quiet manifest-sha256.txt`, "sh", folder)
		if err != nil {
			return err
		}
		b.compare(fmt.Sprintf("validate bag, %d records", records), "s", []float64{checked.wall.Seconds()}, "sha256sum -c", []float64{summed.wall.Seconds()})
		b.state(fmt.Sprintf("peak memory, validate bag, %d records", records), "MiB", []float64{float64(checked.maxRSS) / mib})
		if err := os.RemoveAll(folder); err != nil {
			return err
		}
		toZip, err := m.run(ctx, "export", "--all", "--no-progress", zipped)
		if err != nil {
			return err
		}
		b.state(fmt.Sprintf("export of %d records, ZIP", records), "s", []float64{toZip.wall.Seconds()})
		b.state(fmt.Sprintf("peak memory, export of %d, ZIP", records), "MiB", []float64{float64(toZip.maxRSS) / mib})
	}
	return nil
}

// photographedRecords makes an installation with complete records, three photographs
// each.
func (b *bench) photographedRecords(ctx context.Context, records int) (*mirror, error) {
	simulated := apitest.New(apitest.Options{
		Records: records, Forms: []string{"LCD"}, Photos: apitest.Fixed(3), MediaBytes: apitest.Fixed(exportedBytes), Latency: time.Millisecond,
	})
	if err := simulated.Listen("127.0.0.1:0"); err != nil {
		return nil, err
	}
	defer simulated.Close()
	m, err := b.newMirror(ctx, simulated, "concurrency = 16")
	if err != nil {
		return nil, err
	}
	if err := m.enqueue(ctx, simulated); err != nil {
		return nil, err
	}
	_, err = m.run(ctx, "process", "--until-empty", "--no-progress")
	return m, err
}
