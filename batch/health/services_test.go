package health

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"noggin/storage"
)

func TestStoppedTimersAndFailedUnitsAreRead(t *testing.T) {
	t.Parallel()
	const (
		process = `{"next":1761102000000000,"left":12,"last":0,"passed":0,"unit":"noggin-process.timer","activates":"noggin-process.service"}`
		backup  = `{"next":0,"last":1761102000000000,"unit":"noggin-backup.timer","activates":"noggin-backup.service"}`
		archive = `{"next":0,"last":0,"unit":"noggin-archive.timer","activates":"noggin-archive.service"}`
		files   = `[{"unit_file":"noggin-process.timer","state":"enabled"},{"unit_file":"noggin-backup.timer","state":"enabled"},
			{"unit_file":"noggin-import-csv.path","state":"enabled"},{"unit_file":"noggin-archive.timer","state":"disabled"},
			{"unit_file":"noggin-process.service","state":"static"}]`
	)
	all := "[" + process + "," + backup + "," + archive + "]"
	for _, test := range []struct {
		name                 string
		timers, units, files string
		idle, failed         []string
	}{
		{"no systemd", "System has not been booted with systemd", "", "", nil, nil},
		{"at work", all, `[{"unit":"noggin-process.timer","active":"active"},{"unit":"noggin-backup.timer","active":"active"},
			{"unit":"noggin-import-csv.path","active":"active"}]`, files, nil, nil},
		{
			"stopped", all, `[{"unit":"noggin-process.timer","active":"inactive"},{"unit":"noggin-backup.timer","active":"inactive"}]`, files,
			[]string{"noggin-backup.timer", "noggin-import-csv.path", "noggin-process.timer"},
			nil,
		},
		{
			"disabled whole", "[" + process + "]", `[{"unit":"noggin-process.timer","active":"inactive"}]`, `[{"unit_file":"noggin-process.timer","state":"disabled"}]`,
			[]string{"noggin-process.timer"},
			nil,
		},
		{"only timers are told", all, "", "", []string{"noggin-archive.timer", "noggin-backup.timer"}, nil},
		{
			"failed", "[]", `[{"unit":"noggin-backup.service","active":"failed"},{"unit":"noggin-validate-quick.service","active":"failed"}]`, "[]",
			nil,
			[]string{"noggin-backup.service"},
		},
	} {
		got := parseServices([]byte(test.timers), []byte(test.units), []byte(test.files))
		if !slices.Equal(got.Idle, test.idle) || !slices.Equal(got.Failed, test.failed) {
			t.Errorf("%s: idle %q, failed %q; want %q, %q", test.name, got.Idle, got.Failed, test.idle, test.failed)
		}
	}
	got := parseServices([]byte("["+process+"]"), nil, nil).Timers
	if len(got) != 1 || got[0].Last != nil || got[0].Next.Unix() != 1761102000 || got[0].Unit != "noggin-process.timer" {
		t.Errorf("a timer is read as %+v", got)
	}
}

// A restore plan masks noggin.target, which then can be neither started nor enabled.
func TestAMaskedTargetIsUnmaskedFirst(t *testing.T) {
	bin := t.TempDir()
	script := `#!/bin/sh
case "$1 $*" in
list-unit-files*noggin.target*) echo '[{"unit_file":"noggin.target","state":"'"$(cat "${0%/*}/state")"'"}]' ;;
*) echo '[]' ;;
esac
`
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	now := time.Date(2025, 10, 22, 7, 30, 0, 0, time.UTC)
	long := now.Add(-48 * time.Hour)
	for state, masked := range map[string]bool{"masked": true, "masked-runtime": true, "enabled": false, "disabled": false} {
		if err := os.WriteFile(filepath.Join(bin, "state"), []byte(state), 0o600); err != nil {
			t.Fatal(err)
		}
		services := ReadServices(t.Context())
		services.Idle = []string{"noggin-backup.timer"}
		never := Vitals{Now: now, Services: services, Totals: []storage.RecordTotal{{Status: storage.StatusPending, Records: 1}}}
		never.Queue.Due, never.Queue.OldestAt = 1, &long
		silent := never
		silent.Rhythm = storage.Rhythm{Runs: 23, Seconds: 300, LastSign: &long}
		silent.Activity = &long
		for _, flag := range []Flag{judgeTimers(&never), judgeActivity(&never), judgeSilence(&silent), judgeActivity(&silent)} {
			unmask, start := strings.Index(flag.Remedy, "`sudo systemctl unmask noggin.target`"), strings.LastIndex(flag.Remedy, " noggin.target`")
			if flag.Name == "" || start < 0 || (unmask >= 0) != masked || unmask > start {
				t.Errorf("noggin.target is %s: %+v", state, flag)
			}
		}
	}
}

// The dashboard and every check ask systemd first.
func TestASystemdThatHangsHoldsNothingUp(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte("#!/bin/sh\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	began := time.Now()
	if s := ReadServices(t.Context()); len(s.Timers) > 0 || time.Since(began) > 20*time.Second {
		t.Errorf("%+v after %s", s, time.Since(began))
	}
}

func TestAStoppedServiceIsRed(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 10, 22, 7, 30, 0, 0, time.UTC)
	every5m := func(silent time.Duration) storage.Rhythm {
		sign := now.Add(-silent)
		return storage.Rhythm{Runs: 23, Seconds: 300, LastSign: &sign}
	}
	for _, test := range []struct {
		name   string
		change func(*Vitals)
		want   string // of the red flags
	}{
		{"timers stopped", func(v *Vitals) { v.Services.Idle = []string{"noggin-backup.timer"} }, "timers_stopped"},
		{"a unit failed", func(v *Vitals) { v.Services.Failed = []string{"noggin-backup.service"} }, "unit_failed"},
		{"process is silent for three intervals", func(v *Vitals) { v.Rhythm = every5m(15 * time.Minute) }, ""},
		{"process is silent for longer", func(v *Vitals) { v.Rhythm = every5m(16 * time.Minute) }, "process_silent"},
		{"a pause", func(v *Vitals) { v.Rhythm, v.Standing.Paused = every5m(16*time.Minute), true }, ""},
		{"resumed a minute ago", func(v *Vitals) { v.Rhythm, v.Standing.PauseEnded = every5m(48*time.Hour), new(now.Add(-time.Minute)) }, ""},
		{"resumed, and silent since", func(v *Vitals) {
			v.Rhythm, v.Standing.PauseEnded = every5m(48*time.Hour), new(now.Add(-16*time.Minute))
		}, "process_silent"},
		{"the circuit is open", func(v *Vitals) { v.Rhythm, v.Standing.State = every5m(16*time.Minute), storage.CircuitOpen }, "circuit_open"},
		{"runs by hand", func(v *Vitals) { v.Rhythm = every5m(time.Hour); v.Rhythm.Runs = 3 }, ""},
	} {
		v := Vitals{Now: now, Days: make([]storage.Day, 7)}
		test.change(&v)
		var red []string
		for _, flag := range v.Flags() {
			if flag.Severity == SeverityRed {
				red = append(red, flag.Name)
			}
		}
		if got := strings.Join(red, " "); got != test.want {
			t.Errorf("%s: red are %q, want %q", test.name, got, test.want)
		}
	}
}
