package report

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func storageCommand(open *session.Opener) *cli.Command {
	return withFormats(open, &cli.Command{
		Name:  "storage",
		Usage: "what the files take: by year, by month, by form, growth, and each volume",
		Description: `By the month of the inspection, as the folders are. The figures are the
database's; ` + "`noggin validate files`" + ` compares them with the disk.`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "months", Usage: "every month in text, not only the last 24"}},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		return runStorage(ctx, r, c.Bool("months"))
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

func runStorage(ctx context.Context, r *reporter, all bool) error {
	s := storageReport{At: r.now, Volumes: volumes(r.Config.Batch.Paths)}
	months, err := r.DB.StorageByMonth(ctx)
	if err != nil {
		return err
	}
	s.addMonths(months)
	if s.Forms, err = r.DB.StorageByForm(ctx); err != nil {
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
	samples, err := r.DB.Samples(ctx, r.now.AddDate(0, 0, -31))
	if err != nil {
		return err
	}
	if disk, err := health.ReadDisk(r.Config.Batch.Paths.Output); err == nil {
		disk.Host = r.DB.Host()
		s.Output = newDiskState(*disk, health.ForecastDisk(*disk, samples, r.now))
	}
	main := usageTable("month", "Month", s.Months)
	return r.out.Report(s, main, func() show.Sheet { return r.storageSheet(s, all) })
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
func volumes(p files.Paths) []volumeState {
	var states []volumeState
	for _, folder := range []struct{ name, path string }{
		{"output", p.Output}, {"input", p.Input}, {"archive", p.Archive}, {"backups", p.Backups}, {"reports", p.Reports},
	} {
		v := volumeState{Name: folder.name, Path: folder.path}
		free, total, err := files.VolumeSpace(folder.path)
		if err != nil {
			v.Error = err.Error()
		}
		v.FreeBytes, v.TotalBytes = int64(free), int64(total)
		v.UsedPercent = files.UsedPercent(free, total)
		states = append(states, v)
	}
	return states
}

func usageTable(key, heading string, rows []usageRow) show.Table {
	t := show.Table{Columns: []show.Column{
		{key, heading},
		{"attachments", "Files"},
		{"attachment_bytes", "Files' size"},
		{"reports", "Reports"},
		{"report_bytes", "Reports' size"},
		{"archived_bytes", "Archived"},
		{"disk_bytes", "On disk"},
	}, Spare: []string{"Reports", "Reports' size", "Archived"}}
	for _, u := range rows {
		t.Rows = append(t.Rows, []any{
			u.Month, show.Count(u.Attachments), show.Size(u.AttachmentBytes), show.Count(u.Reports), show.Size(u.ReportBytes), show.Size(u.ArchivedBytes), show.Size(u.DiskBytes),
		})
	}
	return t
}

func (r *reporter) storageSheet(s storageReport, all bool) show.Sheet {
	const recent = 24
	shown := s.Months
	notes := []string(nil)
	if !all && len(shown) > recent {
		shown = shown[len(shown)-recent:]
		notes = []string{"The last 24 months; --months shows every one."}
	}
	months, years := usageTable("", "Month", shown), usageTable("", "Year", s.Years)
	forms := &show.Table{Columns: show.Headings("Form", "Complete records", "Files", "Files' size", "Reports' size"), Spare: []string{"Reports' size"}}
	for _, f := range s.Forms {
		forms.Rows = append(forms.Rows, []any{f.ObjectType, show.Count(f.Records), show.Count(f.Attachments), show.Size(f.Bytes), show.Size(f.ReportBytes)})
	}
	grown := &show.Table{Columns: show.Headings("Downloaded in the last", "Files", "Size", "A day")}
	for _, g := range s.Growth {
		grown.Rows = append(grown.Rows, []any{health.Plural(g.Days, "day"), show.Count(g.Files), show.Size(g.Bytes), show.Size(g.BytesPerDay)})
	}
	disks := &show.Table{Columns: show.Headings("Folder", "Volume", "Used", "Free", "Path"), Spare: []string{"Volume"}}
	for _, v := range s.Volumes {
		path := filepath.Clean(v.Path)
		if v.Error != "" {
			path = v.Error
		}
		disks.Rows = append(disks.Rows, []any{v.Name, show.Size(v.TotalBytes), show.Percent(v.UsedPercent), show.Size(v.FreeBytes), path})
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
	return show.Sheet{Title: r.heading("Storage"), Sections: []show.Section{
		{Lines: lines},
		{Title: "Volumes", Table: disks},
		{Title: "Growth", Table: grown},
		{Title: "By year of the inspection", Table: &years},
		{Title: "By month", Table: &months, Notes: notes},
		{Title: "By form, archived files included", Table: forms},
	}}
}
