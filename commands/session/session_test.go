package session

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"

	"noggin/batch/batchtest"
	"noggin/commands/cmdline"
	"noggin/commands/config"
	"noggin/storage"
)

// openSession is a session on an empty database.
func openSession(t *testing.T) *Session {
	t.Helper()
	cfg := config.Default()
	cfg.Storage.URL, cfg.Storage.Timezone, cfg.Batch.Paths.Output = batchtest.Database(t), "UTC", t.TempDir()
	db, err := storage.Open(cfg.Storage, "skip")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Init(t.Context(), string(schema), storage.InitOptions{}); err != nil {
		t.Fatal(err)
	}
	return &Session{Config: cfg, DB: db, Log: slog.New(slog.DiscardHandler), Version: "1.2.3", Command: "skip"}
}

func TestARunIsRecordedWithItsEndHoweverItEnds(t *testing.T) {
	t.Parallel()
	s := openSession(t)
	signalled, signal := context.WithCancelCause(t.Context())
	defer signal(nil)
	for _, test := range []struct {
		ctx     context.Context
		err     error
		code    int
		message string
	}{
		{t.Context(), nil, cmdline.ExitDone, ""},
		{t.Context(), cmdline.Partialf("two of three"), cmdline.ExitPartial, "two of three"},
		{t.Context(), errors.New("broken"), cmdline.ExitFailed, "broken"},
		{signalled, errors.New("cut off"), cmdline.ExitInterrupted, "cut off"},
	} {
		var begun int64
		err := s.Recorded(test.ctx, s.Command, func(run int64) (any, error) {
			begun = run
			if test.ctx == signalled {
				signal(ErrInterrupted)
			}
			return map[string]any{"skipped": 3}, test.err
		})
		if !errors.Is(err, test.err) {
			t.Errorf("%v is returned as %v", test.err, err)
		}
		runs, err := s.DB.Runs(t.Context(), storage.RunFilter{Limit: 1})
		if err != nil || len(runs) != 1 {
			t.Fatal(runs, err)
		}
		run := runs[0]
		message := ""
		if run.Message != nil {
			message = *run.Message
		}
		if run.ID != begun || run.Command != "skip" || run.Version != "1.2.3" || run.ExitCode == nil || *run.ExitCode != test.code ||
			message != test.message || string(run.Summary) != `{"skipped": 3}` {
			t.Errorf("%v is recorded as %+v, %q, %s", test.err, run, message, run.Summary)
		}
	}
}

func TestNothingIsDoneThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	s := openSession(t)
	if err := s.DB.Close(); err != nil {
		t.Fatal(err)
	}
	err := s.Recorded(t.Context(), s.Command, func(int64) (any, error) {
		t.Error("the work was done")
		return nil, nil
	})
	if err == nil {
		t.Error("no error")
	}
}
