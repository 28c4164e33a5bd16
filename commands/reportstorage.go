package commands

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

func reportStorageCommand(env *environment) *cli.Command {
	return env.report(&cli.Command{
		Name:  "storage",
		Usage: "what the files take: by year, by month, by form, growth, and each volume",
		Description: `By the month of the inspection, as the folders are. The figures are the
database's; ` + "`noggin validate files`" + ` compares them with the disk.`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "months", Usage: "every month in text, not only the last 24"}},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		return runReportStorage(ctx, r, c.Bool("months"))
	})
}

type storageReport struct {
	At      time.Time     `json:"at"`
	Months  []usageRow    `json:"months"` // the oldest first
	Years   []usageRow    `json:"years"`
	Forms   []formUsage   `json:"forms"`
	Growth  []growth      `json:"growth"` // downloaded in the last 7, 30 and 90 days
	Volumes []volumeState `json:"volumes"`
	Output  *diskState    `json:"output_volume"` // null: the folder cannot be used
}

type usageRow struct {
	storage.MonthUsage
	DiskBytes int64 `json:"disk_bytes"` // in the output folder now
}

type formUsage = storage.FormUsage

type growth struct {
	Days        int   `json:"days"`
	Files       int64 `json:"attachments"`
	Bytes       int64 `json:"bytes"`
	BytesPerDay int64 `json:"bytes_per_day"`
}

// volumeState is a configured folder and the volume that it is on.
type volumeState struct {
	Name        string  `json:"name"` // its key in [paths]
	Path        string  `json:"path"`
	FreeBytes   int64   `json:"free_bytes"`
	TotalBytes  int64   `json:"total_bytes"`
	UsedPercent float64 `json:"used_percent"`
	Error       string  `json:"error,omitempty"`
}

func runReportStorage(ctx context.Context, r *reporter, all bool) error {
	s := storageReport{At: r.now, Volumes: volumes(r.cfg.batch.Paths)}
	months, err := r.db.StorageByMonth(ctx)
	if err != nil {
		return err
	}
	s.addMonths(months)
	if s.Forms, err = r.db.StorageByForm(ctx); err != nil {
		return err
	}
	days, err := r.days(ctx, storage.DaysCounted)
	if err != nil {
		return err
	}
	for _, n := range []int{7, 30, storage.DaysCounted} {
		g := growth{Days: n}
		for _, d := range days[:n] {
			g.Files, g.Bytes = g.Files+d.Files, g.Bytes+d.Bytes
		}
		g.BytesPerDay = g.Bytes / int64(n)
		s.Growth = append(s.Growth, g)
	}
	samples, err := r.db.Samples(ctx, r.now.AddDate(0, 0, -31))
	if err != nil {
		return err
	}
	if disk, err := batch.ReadDisk(r.cfg.batch.Paths.Output); err == nil {
		disk.Host = r.db.Host()
		s.Output = newDiskState(*disk, batch.ForecastDisk(*disk, samples, r.now))
	}
	main := usageTable("month", "Month", s.Months)
	return r.out.report(s, main, func() sheet { return r.storageSheet(s, all) })
}

func (s *storageReport) addMonths(months []storage.MonthUsage) {
	for _, m := range months {
		s.Months = append(s.Months, usageRow{m, m.DiskBytes()})
		year, _, _ := strings.Cut(m.Month, "-")
		if m.Month == "unknown-date" {
			year = m.Month
		}
		if n := len(s.Years); n == 0 || s.Years[n-1].Month != year {
			s.Years = append(s.Years, usageRow{MonthUsage: storage.MonthUsage{Month: year}})
		}
		y := &s.Years[len(s.Years)-1]
		y.Attachments += m.Attachments
		y.AttachmentBytes += m.AttachmentBytes
		y.Reports += m.Reports
		y.ReportBytes += m.ReportBytes
		y.ArchivedFiles += m.ArchivedFiles
		y.ArchivedBytes += m.ArchivedBytes
		y.DiskBytes += m.DiskBytes()
	}
}

// volumes looks at the volume of every configured folder, or of the nearest one
// above it that is there.
func volumes(p batch.Paths) []volumeState {
	var states []volumeState
	for _, folder := range []struct{ name, path string }{
		{"output", p.Output}, {"input", p.Input}, {"archive", p.Archive}, {"backups", p.Backups}, {"reports", p.Reports},
	} {
		v := volumeState{Name: folder.name, Path: folder.path}
		free, total, err := batch.VolumeSpace(folder.path)
		if err != nil {
			v.Error = err.Error()
		}
		v.FreeBytes, v.TotalBytes = int64(free), int64(total)
		v.UsedPercent = batch.UsedPercent(free, total)
		states = append(states, v)
	}
	return states
}

func usageTable(key, heading string, rows []usageRow) table {
	t := table{columns: []column{
		{key, heading},
		{"attachments", "Files"},
		{"attachment_bytes", "Files' size"},
		{"reports", "Reports"},
		{"report_bytes", "Reports' size"},
		{"archived_bytes", "Archived"},
		{"disk_bytes", "On disk"},
	}}
	for _, u := range rows {
		t.rows = append(t.rows, []any{
			u.Month, count(u.Attachments), size(u.AttachmentBytes), count(u.Reports), size(u.ReportBytes), size(u.ArchivedBytes), size(u.DiskBytes),
		})
	}
	return t
}

func (r *reporter) storageSheet(s storageReport, all bool) sheet {
	const recent = 24
	shown := s.Months
	notes := []string(nil)
	if !all && len(shown) > recent {
		shown = shown[len(shown)-recent:]
		notes = []string{"The last 24 months; --months shows every one."}
	}
	months, years := usageTable("", "Month", shown), usageTable("", "Year", s.Years)
	forms := &table{columns: headings("Form", "Complete records", "Files", "Files' size", "Reports' size")}
	for _, f := range s.Forms {
		forms.rows = append(forms.rows, []any{f.ObjectType, count(f.Records), count(f.Attachments), size(f.Bytes), size(f.ReportBytes)})
	}
	grown := &table{columns: headings("Downloaded in the last", "Files", "Size", "A day")}
	for _, g := range s.Growth {
		grown.rows = append(grown.rows, []any{plural(g.Days, "day"), count(g.Files), size(g.Bytes), size(g.BytesPerDay)})
	}
	disks := &table{columns: headings("Folder", "Volume", "Used", "Free", "Path")}
	for _, v := range s.Volumes {
		path := filepath.Clean(v.Path)
		if v.Error != "" {
			path = v.Error
		}
		disks.rows = append(disks.rows, []any{v.Name, size(v.TotalBytes), percent(v.UsedPercent), size(v.FreeBytes), path})
	}
	var lines []string
	if len(s.Months) == 0 {
		lines = []string{"No files yet."}
	} else {
		lines = []string{"The oldest month is " + s.Months[0].Month + "."}
	}
	if s.Output != nil {
		lines = append(lines, "Output volume: "+s.Output.describe()+".")
	}
	return sheet{title: r.heading("Storage"), sections: []section{
		{lines: lines},
		{title: "Volumes", table: disks},
		{title: "Growth", table: grown},
		{title: "By year of the inspection", table: &years},
		{title: "By month", table: &months, notes: notes},
		{title: "By form, archived files included", table: forms},
	}}
}
