package commands

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

func reportMetricsCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "metrics",
		Usage: "write what an alert needs as a Prometheus textfile",
		Description: `For node_exporter's textfile collector, which on Debian reads
/var/lib/prometheus/node-exporter/*.prom. The file is replaced in one step.`,
		Flags: []cli.Flag{&cli.StringFlag{Name: "output", Usage: "write to `FILE.prom`", Required: true, TakesFile: true}},
		Action: env.reporting(func(ctx context.Context, c *cli.Context, r *reporter) error {
			path := c.String("output")
			if filepath.Ext(path) != ".prom" {
				return usagef("--output %s: the collector reads only files that end in .prom", quoted(path))
			}
			return runReportMetrics(ctx, r, path)
		}),
	}
}

func runReportMetrics(ctx context.Context, r *reporter, path string) error {
	if err := batch.Sample(ctx, r.db, r.cfg.batch.Paths.Output); err != nil {
		return err
	}
	status, err := r.status(ctx)
	if err != nil {
		return err
	}
	ended, err := r.db.LastRuns(ctx, storage.EndedRun) // the last may be at work
	if err != nil {
		return err
	}
	if err := prometheus.WriteToTextfile(path, metricsOf(status, ended)); err != nil {
		return fmt.Errorf("write the metrics: %w", err)
	}
	return nil
}

// metricsOf names the figures by Prometheus' conventions.
func metricsOf(s statusReport, ended []storage.RunRow) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "noggin_" + name, Help: help}, labels)
		registry.MustRegister(g)
		return g
	}
	counter := func(name, help string, value int64) {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "noggin_" + name, Help: help})
		c.Add(float64(value))
		registry.MustRegister(c)
	}
	records := gauge("records", "Records by form and processing status.", "object_type", "status")
	for _, t := range s.vitals.Totals {
		records.WithLabelValues(t.ObjectType, t.Status).Add(float64(t.Records))
	}
	gauge("permanently_failed_records", "Records that failed and are not tried again.").WithLabelValues().Set(float64(s.PermanentlyFailed))
	gauge("due_records", "Records that can be taken now.").WithLabelValues().Set(float64(s.Queue.Due))
	gauge("waiting_records", "Failed records whose next retry is still to come.").WithLabelValues().Set(float64(s.Queue.Later))
	oldest := gauge("oldest_due_timestamp_seconds", "Since when the oldest due record waits; absent when none is due.")
	if s.Queue.OldestAt != nil {
		oldest.WithLabelValues().Set(seconds(*s.Queue.OldestAt))
	}
	unknown := gauge("unknown_hashes", "Hashes whose name is not known, by kind of object.", "entity_type")
	for _, u := range s.UnknownHashes {
		unknown.WithLabelValues(u.EntityType).Set(float64(u.Hashes))
	}
	exit := gauge("last_exit_code", "Exit code of the last run that ended, by command.", "command")
	for _, r := range ended {
		exit.WithLabelValues(r.Command).Set(float64(*r.ExitCode))
	}
	success := gauge("last_success_timestamp_seconds", "When a run last ended with exit code 0, by command.", "command")
	for _, r := range s.vitals.Succeeded {
		if r.FinishedAt != nil {
			success.WithLabelValues(r.Command).Set(seconds(*r.FinishedAt))
		}
	}
	circuit := gauge("circuit_state", "1 for the state that the circuit is in.", "state")
	for _, state := range []string{"closed", "open", "half_open"} {
		circuit.WithLabelValues(state).Set(0)
	}
	circuit.WithLabelValues(s.Circuit.State).Set(1)
	paused := gauge("paused", "1 during a maintenance pause.").WithLabelValues()
	if s.vitals.Standing.Paused {
		paused.Set(1)
	}
	if d := s.Disk; d != nil {
		gauge("output_free_bytes", "Free space on the volume of the output folder.").WithLabelValues().Set(float64(d.FreeBytes))
		gauge("output_size_bytes", "Size of the volume of the output folder.").WithLabelValues().Set(float64(d.TotalBytes))
	}
	attachments := gauge("attachments", "Complete attachments.").WithLabelValues()
	bytes := gauge("attachments_size_bytes", "Size of the complete attachments.").WithLabelValues()
	for _, f := range s.Files {
		if f.Status == "complete" {
			attachments.Set(float64(f.Files))
			bytes.Set(float64(f.Bytes))
		}
	}
	gauge("database_size_bytes", "Size of the database.").WithLabelValues().Set(float64(s.DatabaseBytes))
	counter("api_requests_total", "Requests to the API by all hosts since the mirror was set up.", s.Circuit.TotalRequests)
	counter("api_request_failures_total", "Requests that failed for reasons of availability.", s.Circuit.TotalFailures)
	return registry
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
