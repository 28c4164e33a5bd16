package report

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"noggin/commands/show"
)

const monitoring = "../../systemd/monitoring/"

func readMonitoring(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(monitoring + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every flag that batch/health can raise has an alert, and no alert waits for another.
func TestEveryFlagHasAnAlert(t *testing.T) {
	t.Parallel()
	sources, err := filepath.Glob("../../batch/health/*.go")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?:\b(?:red|yellow)\(|flag\.Name(?:, flag\.Remedy)? = (?:SeverityRed, )?|flag\.Severity, flag\.Name = SeverityRed, |\bFlag\w+ += )"([a-z_]+)"`)
	flags := map[string]bool{}
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range named.FindAllStringSubmatch(string(text), -1) {
			flags[match[1]] = true
		}
	}
	if len(flags) < 25 {
		t.Errorf("only %d flags were found in batch/health: %v", len(flags), flags)
	}
	rules, tests := readMonitoring(t, "noggin-alerts.yml"), readMonitoring(t, "noggin-alerts.test.yml")
	for flag := range flags {
		if !strings.Contains(rules, `noggin_flags{name="`+flag+`"}`) || !strings.Contains(tests, "  - name: "+flag+"\n") {
			t.Errorf("the flag %s has no alert, or its alert no test, in systemd/monitoring", flag)
		}
	}
	for _, match := range regexp.MustCompile(`noggin_flags\{name="([a-z_]+)"`).FindAllStringSubmatch(rules, -1) {
		if !flags[match[1]] {
			t.Errorf("an alert waits for the flag %s, which nothing raises", match[1])
		}
	}
}

// The alerts and the dashboard ask only for metrics that are written.
func TestMonitoringAsksForWhatIsWritten(t *testing.T) {
	t.Parallel()
	opened := filledSession(t, 200)
	opened.Version = "1.2.3"
	if _, err := opened.DB.Pause(t.Context(), 0, "new disks"); err != nil {
		t.Fatal(err)
	}
	r, err := newReporter(t.Context(), opened, show.Output{Writer: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "noggin.prom")
	if err := runMetrics(t.Context(), r, path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`noggin_build_info{version="1.2.3"} 1`, `noggin_flags{name="paused",severity="yellow"} 1`, `noggin_last_day_errors{type="`,
		`noggin_attachments_by_status{status="complete"} `, `noggin_former_versions 0`, `noggin_volume_free_bytes{folders="`, `noggin_volume_inodes_used_ratio{folders="`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	dashboard := readMonitoring(t, "noggin-grafana.json")
	if !json.Valid([]byte(dashboard)) {
		t.Error("the dashboard is not JSON")
	}
	asked := regexp.MustCompile(`\bnoggin_[a-z_]+`).FindAllString(dashboard+readMonitoring(t, "noggin-alerts.yml"), -1)
	for _, metric := range asked {
		if !strings.Contains(string(text), "# TYPE "+metric+" ") {
			t.Errorf("%s is asked for and not written", metric)
		}
	}
}

func TestTheAlertsFireWhenTheyShould(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is missing: it is in Debian's package prometheus, which `NOGGIN_SETUP=all .ci/setup` installs")
	}
	for _, args := range [][]string{{"check", "rules", "noggin-alerts.yml"}, {"test", "rules", "noggin-alerts.test.yml"}} {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = monitoring
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	// It would say so.
	folder := t.TempDir()
	for name, text := range map[string]string{
		"noggin-alerts.yml":      strings.ReplaceAll(readMonitoring(t, "noggin-alerts.yml"), `name="disk_full"`, `name="disk_fool"`),
		"noggin-alerts.test.yml": readMonitoring(t, "noggin-alerts.test.yml"),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program, "test", "rules", "noggin-alerts.test.yml")
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "NogginDiskFull") {
		t.Errorf("an alert that waits for a flag of another name: %v\n%s", err, out)
	}
}
