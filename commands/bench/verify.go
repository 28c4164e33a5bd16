package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// benchVerify compares archive verify with validate files --deep, which reads and hashes the
// same photographs as single files.
func benchVerify(ctx context.Context, b *bench) error {
	m, err := b.newMirror(ctx, nil, "")
	if err != nil {
		return err
	}
	defer m.close()
	const months = 6
	records := b.size(500)
	pristine := filepath.Join(m.folder, "pristine")
	if err := m.photographed(ctx, pristine, records, months); err != nil {
		return err
	}
	figures := map[string][]float64{}
	rate := func(name string, args ...string) error {
		if err := settle(ctx); err != nil {
			return err
		}
		c, err := m.run(ctx, append(args, "--no-progress", "--format", "json")...)
		if err != nil {
			return err
		}
		if strings.Contains(c.stdout, `"ok": false`) {
			return fmt.Errorf("%s found something:\n%s", strings.Join(args, " "), c.stdout)
		}
		megabytes := float64(records) * archivedPhotos * photoBytes / 1e6
		figures[name] = append(figures[name], megabytes/c.wall.Seconds())
		figures[name+" CPU"] = append(figures[name+" CPU"], c.cpu.Seconds()/megabytes*1000)
		figures[name+" memory"] = append(figures[name+" memory"], float64(c.maxRSS)/(1<<20))
		return nil
	}
	for range b.rounds {
		if err := m.unarchived(ctx, pristine); err != nil {
			return err
		}
		err := rate("deep", "validate", "files", "--deep")
		if err == nil {
			_, err = m.run(ctx, "archive", "create", "--before", "2100-01-01", "--no-progress")
		}
		if err := errors.Join(err, rate("warm up", "archive", "verify")); err != nil { // they were not in memory
			return err
		}
		if err := rate("verify", "archive", "verify"); err != nil {
			return err
		}
	}
	what := fmt.Sprintf("archive verify, %d archives", months)
	b.compare(what, "MB/s", figures["verify"], "validate files --deep", figures["deep"])
	b.compare(what+", CPU a gigabyte", "s", figures["verify CPU"], "validate files --deep", figures["deep CPU"])
	b.state(what+", peak memory", "MiB", figures["verify memory"])
	return nil
}
