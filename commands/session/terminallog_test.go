package session

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"noggin/batch/process"
)

func TestAFailureIsOneLineOnATerminal(t *testing.T) {
	tip := strings.Repeat("4d8f42b9", 8)
	now := time.Unix(1_700_000_000, 0)
	long := errors.New("GET of " + tip + ": answered 503 Service Unavailable\nand \x1b[31m" + strings.Repeat("much more ", 30))
	for _, width := range []int{0, 60, 80, 200} {
		var b strings.Builder
		log := slog.New(&terminalLog{w: &b, level: slog.LevelInfo, width: func() int { return width }, now: func() time.Time { return now }})
		log.With("run_id", 3).Warn(process.RequestFailed, "tip", tip, "inspection_id", "LCD - 045289", "attachment", strings.Repeat("9", 64), "run_id", 3,
			"file", "LCD-045289_20250917_photo_003.jpg", "error_type", "server_error", "error", long, "next_try", now.Add(62*time.Second))
		line := b.String()
		if strings.Count(line, "\n") != 1 || !strings.HasPrefix(line, "- LCD - 045289: photo_003.jpg: GET of") || !strings.HasSuffix(line, "; next try in 1 m 2 s\n") ||
			strings.Contains(line, "\x1b") || strings.Contains(line, tip) || width > 0 && text.StringWidth(strings.TrimSpace(line)) > width {
			t.Errorf("at %d columns: %q", width, line)
		}
	}
}

func TestALogLineOnATerminalIsWords(t *testing.T) {
	var b strings.Builder
	log := slog.New(&terminalLog{w: &b, level: slog.LevelInfo, colour: true, width: func() int { return 20 }, now: time.Now})
	log.Debug("not shown")
	log.Info("archive written", "archive", "noggin-2025-08.tar.zst", "bytes", int64(12345), "run_id", int64(3))
	log.Error("maintenance failed", "step", "vac\x1buum", "error", errors.New("it is locked"))
	want := "  archive written\x1b[2m, archive noggin-2025-08.tar.zst, bytes 12,345\x1b[0m\n" +
		"\x1b[31m! \x1b[0mmaintenance failed: it is locked\x1b[2m, step vac\\x1buum\x1b[0m\n"
	if b.String() != want {
		t.Errorf("got  %q\nwant %q", b.String(), want)
	}
}
