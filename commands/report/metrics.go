package report

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func metricsCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "metrics",
		Usage: "write what an alert needs as a Prometheus textfile",
		Description: `For node_exporter's textfile collector, which on Debian reads
/var/lib/prometheus/node-exporter/*.prom. The file is replaced in one step.`,
		Flags: []cli.Flag{cmdline.NotEmpty(&cli.StringFlag{Name: "output", Usage: "write to `FILE.prom`; -: stdout, as without it", TakesFile: true})},
		Action: reporting(open, func(ctx context.Context, c *cli.Context, r *reporter) error {
			path := c.String("output")
			if path == "-" {
				path = ""
			}
			if path != "" && filepath.Ext(path) != ".prom" {
				return cmdline.Usagef("--output %s: the collector reads only files that end in .prom", show.Quoted(path))
			}
			return runMetrics(ctx, r, path)
		}),
	}
}

func runMetrics(ctx context.Context, r *reporter, path string) error {
	if err := health.Sample(ctx, r.DB, r.Config.Batch.Paths.Output); err != nil {
		return err
	}
	status, err := r.status(ctx)
	if err != nil {
		return err
	}
	ended, err := r.DB.LastRuns(ctx, storage.EndedRun) // the last may be at work
	if err != nil {
		return err
	}
	figures := metricsOf(status, ended)
	if err := r.addState(ctx, figures, status); err != nil {
		return err
	}
	if path == "" {
		_, err = io.WriteString(r.out, figures.text())
	} else {
		// node_exporter, another user, reads the file whatever the umask is.
		err = files.WriteOwned(path, 0o644, -1, -1, []byte(figures.text()))
	}
	if err != nil {
		return fmt.Errorf("write the metrics: %w", err)
	}
	return nil
}

// metricsOf names the figures by Prometheus' conventions.
func metricsOf(s statusReport, ended []storage.RunRow) *metrics {
	m := new(metrics)
	records := m.gauge("records", "Records by form and processing status.", "object_type", "status")
	for _, t := range s.vitals.Totals {
		records.add(float64(t.Records), t.ObjectType, string(t.Status))
	}
	m.gauge("permanently_failed_records", "Records that failed and are not tried again.").set(float64(s.PermanentlyFailed))
	m.gauge("gone_records", "Complete records that the platform has no longer, or does not permit to read.").set(float64(s.Gone))
	m.gauge("due_records", "Records that can be taken now.").set(float64(s.Queue.Due))
	m.gauge("waiting_records", "Failed records whose next retry is still to come.").set(float64(s.Queue.Later))
	oldest := m.gauge("oldest_due_timestamp_seconds", "Since when the oldest due record waits; absent when none is due.")
	if s.Queue.OldestAt != nil {
		oldest.set(seconds(*s.Queue.OldestAt))
	}
	unknown := m.gauge("unknown_hashes", "Hashes whose name is not known, by kind of object.", "entity_type")
	for _, u := range s.UnknownHashes {
		unknown.set(float64(u.Hashes), u.EntityType)
	}
	exit := m.gauge("last_exit_code", "Exit code of the last run that ended, by command.", "command")
	for _, r := range ended {
		exit.set(float64(*r.ExitCode), r.Command)
	}
	success := m.gauge("last_success_timestamp_seconds", "When a run last ended with exit code 0, by command.", "command")
	for _, r := range s.vitals.Succeeded {
		if r.FinishedAt != nil {
			success.set(seconds(*r.FinishedAt), r.Command)
		}
	}
	circuit := m.gauge("circuit_state", "1 for the state that the circuit is in.", "state")
	for _, state := range []storage.CircuitState{storage.CircuitClosed, storage.CircuitOpen, storage.CircuitHalfOpen} {
		circuit.set(0, string(state))
	}
	circuit.set(1, string(s.Circuit.State))
	paused := m.gauge("paused", "1 during a maintenance pause.")
	paused.set(0)
	if s.vitals.Standing.Paused {
		paused.set(1)
	}
	if d := s.Disk; d != nil {
		m.gauge("output_free_bytes", "Free space on the volume of the output folder.").set(float64(d.FreeBytes))
		m.gauge("output_size_bytes", "Size of the volume of the output folder.").set(float64(d.TotalBytes))
	}
	attachments := m.gauge("attachments", "Complete attachments.")
	bytes := m.gauge("attachments_size_bytes", "Size of the complete attachments.")
	attachments.set(0)
	bytes.set(0)
	for _, f := range s.Files {
		if f.Status == storage.AttachmentComplete {
			attachments.set(float64(f.Files))
			bytes.set(float64(f.Bytes))
		}
	}
	doubtful := m.gauge("doubtful_attachments", "Complete attachments that are not known to be whole: suspect ones, and pictures not validated.", "validation")
	doubtful.set(float64(s.Doubtful.Suspect), string(storage.ValidationSuspect))
	doubtful.set(float64(s.Doubtful.Unvalidated), string(storage.ValidationNone))
	m.gauge("database_size_bytes", "Size of the database.").set(float64(s.DatabaseBytes))
	m.counter("api_requests_total", "Requests to the API by all hosts since the mirror was set up.", s.Circuit.TotalRequests)
	m.counter("api_request_failures_total", "Requests that failed for reasons of availability.", s.Circuit.TotalFailures)
	return m
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
