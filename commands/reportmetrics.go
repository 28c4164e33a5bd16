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
		Action: func(c *cli.Context) error {
			s, err := env.open(c)
			if err != nil {
				return err
			}
			defer s.close()
			path := c.String("output")
			if filepath.Ext(path) != ".prom" {
				return usagef("--output %s: the collector reads only files that end in .prom", quoted(path))
			}
			return runReportMetrics(c.Context, s, path)
		},
	}
}

func runReportMetrics(ctx context.Context, s *session, path string) error {
	if _, err := s.db.Standing(ctx); err != nil {
		return err
	}
	state, err := readMirrorState(ctx, s)
	if err != nil {
		return err
	}
	if err := prometheus.WriteToTextfile(path, metricsOf(state)); err != nil {
		return fmt.Errorf("write the metrics: %w", err)
	}
	return nil
}

// mirrorState is what the metrics are made of.
type mirrorState struct {
	totals   []storage.RecordTotal
	queue    storage.QueueDepth
	unknown  []storage.UnknownNames
	last, ok []storage.RunRow
	now      storage.Measures
	standing storage.Standing
}

func readMirrorState(ctx context.Context, s *session) (m mirrorState, err error) {
	if m.standing, err = s.db.Standing(ctx); err != nil {
		return m, err
	}
	if m.totals, err = s.db.RecordTotals(ctx); err != nil {
		return m, err
	}
	if m.queue, err = s.db.QueueDepth(ctx); err != nil {
		return m, err
	}
	if m.unknown, err = s.db.UnknownNames(ctx); err != nil {
		return m, err
	}
	if m.last, m.ok, err = s.db.LastRuns(ctx); err != nil {
		return m, err
	}
	m.now, err = sampleNow(ctx, s)
	return m, err
}

// metricsOf names the figures by Prometheus' conventions.
func metricsOf(m mirrorState) *prometheus.Registry {
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
	for _, t := range m.totals {
		records.WithLabelValues(t.ObjectType, t.Status).Add(float64(t.Records))
	}
	gauge("permanently_failed_records", "Records that were given up.").WithLabelValues().Set(float64(m.now.PermanentlyFailed))
	gauge("due_records", "Records that can be taken now.").WithLabelValues().Set(float64(m.queue.Due))
	gauge("waiting_records", "Failed records whose next retry is still to come.").WithLabelValues().Set(float64(m.queue.Later))
	oldest := gauge("oldest_due_timestamp_seconds", "Since when the oldest due record waits; absent when none is due.")
	if m.queue.OldestAt != nil {
		oldest.WithLabelValues().Set(seconds(*m.queue.OldestAt))
	}
	unknown := gauge("unknown_hashes", "Hashes whose name is not known, by kind of object.", "entity_type")
	for _, u := range m.unknown {
		unknown.WithLabelValues(u.EntityType).Set(float64(u.Hashes))
	}
	exit := gauge("last_exit_code", "Exit code of the last run that ended, by command.", "command")
	for _, r := range m.last {
		if r.ExitCode != nil {
			exit.WithLabelValues(r.Command).Set(float64(*r.ExitCode))
		}
	}
	success := gauge("last_success_timestamp_seconds", "When a run last ended with exit code 0, by command.", "command")
	for _, r := range append(m.ok, m.last...) {
		if r.ExitCode != nil && *r.ExitCode == 0 && r.FinishedAt != nil {
			success.WithLabelValues(r.Command).Set(seconds(*r.FinishedAt))
		}
	}
	circuit := gauge("circuit_state", "1 for the state that the circuit is in.", "state")
	for _, state := range []string{"closed", "open", "half_open"} {
		circuit.WithLabelValues(state).Set(0)
	}
	circuit.WithLabelValues(m.standing.State).Set(1)
	paused := gauge("paused", "1 during a maintenance pause.").WithLabelValues()
	if m.standing.Paused {
		paused.Set(1)
	}
	if d := m.now.Disk; d != nil {
		gauge("output_free_bytes", "Free space on the volume of the output folder.").WithLabelValues().Set(float64(d.FreeBytes))
		gauge("output_size_bytes", "Size of the volume of the output folder.").WithLabelValues().Set(float64(d.TotalBytes))
	}
	gauge("attachments", "Complete attachments.").WithLabelValues().Set(float64(m.now.Attachments))
	gauge("attachments_size_bytes", "Size of the complete attachments.").WithLabelValues().Set(float64(m.now.AttachmentBytes))
	gauge("database_size_bytes", "Size of the database.").WithLabelValues().Set(float64(m.now.DatabaseBytes))
	counter("api_requests_total", "Requests to the API by all hosts since the mirror was set up.", m.now.Requests)
	counter("api_request_failures_total", "Requests that failed for reasons of availability.", m.now.RequestFailures)
	return registry
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// sampleNow takes a sample, unless one is fresh, and returns the latest.
func sampleNow(ctx context.Context, s *session) (storage.Measures, error) {
	if err := batch.Sample(ctx, s.db, s.cfg.batch.Paths.Output); err != nil {
		return storage.Measures{}, err
	}
	samples, err := s.db.Samples(ctx, time.Now().Add(-time.Hour))
	if err != nil || len(samples) == 0 {
		return storage.Measures{}, err
	}
	latest := samples[len(samples)-1].Measures
	// It may be another host's, whose output folder is on another volume.
	if latest.Disk, err = batch.ReadDisk(s.cfg.batch.Paths.Output); err != nil {
		latest.Disk = nil // `report status` and `validate` tell of it
	}
	return latest, nil
}
