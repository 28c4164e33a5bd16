package commands

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/commands/cmdline"
)

const unitFolder = "../systemd"

// unit is a file of systemd's format: the values of "Section.Key", in their order.
type unit map[string][]string

// words are all values of a key that is a list.
func (u unit) words(key string) []string { return strings.Fields(strings.Join(u[key], " ")) }

func (u unit) last(key string) string {
	if values := u[key]; len(values) > 0 {
		return values[len(values)-1]
	}
	return ""
}

// readUnit reads a unit and the drop-ins that lie beside it.
func readUnit(t *testing.T, name string) unit {
	t.Helper()
	u := unit{}
	files := []string{filepath.Join(unitFolder, name)}
	folders := []string{name + ".d"}
	if filepath.Ext(name) == ".service" {
		folders = append(folders, "noggin-.service.d")
	}
	for _, folder := range folders {
		dropIns, err := filepath.Glob(filepath.Join(unitFolder, folder, "*.conf"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, dropIns...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		section := ""
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if key, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
				u[section+"."+key] = append(u[section+"."+key], value)
			} else if strings.HasPrefix(line, "[") {
				section = strings.Trim(line, "[]")
			}
		}
	}
	return u
}

// unitNames lists the units of the kinds, such as "service".
func unitNames(t *testing.T, kinds ...string) []string {
	t.Helper()
	var names []string
	for _, kind := range kinds {
		paths, err := filepath.Glob(filepath.Join(unitFolder, "*."+kind))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%d units of the kind %s: %v", len(paths), kind, err)
		}
		for _, path := range paths {
			names = append(names, filepath.Base(path))
		}
	}
	return names
}

func allUnits(t *testing.T) []string { return unitNames(t, "service", "timer", "path", "target") }

// jobs are the names of the services that timers start: noggin-process, …
func jobs(t *testing.T) []string {
	names := slices.DeleteFunc(unitNames(t, "service"), func(name string) bool { return strings.Contains(name, "@") })
	for i, name := range names {
		names[i] = strings.TrimSuffix(name, ".service")
	}
	return names
}

// systemdAnalyze is the program, where the machine has it.
func systemdAnalyze(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is missing: it is in Debian's package systemd, and .ci/setup installs it")
	}
	return program
}

// installed lays the units out in a root of their own, beside systemd's, and returns
// that root.
func installed(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	units := filepath.Join(root, "usr/lib/systemd/system")
	copyTo := func(mode os.FileMode, from, to string) {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o755)
		}
		if err == nil {
			err = os.WriteFile(to, text, mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", `mkdir -p "$1" && cp -a /lib/systemd/system/. "$1" && ln -s usr/lib "$2/lib"`, "sh", units, root).CombinedOutput(); err != nil {
		t.Fatalf("copy systemd's own units: %v\n%s", err, out)
	}
	for _, name := range allUnits(t) {
		copyTo(0o644, filepath.Join(unitFolder, name), filepath.Join(units, name))
	}
	dropIns, err := filepath.Glob(filepath.Join(unitFolder, "*.d", "*.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dropIn := range dropIns {
		copyTo(0o644, dropIn, filepath.Join(units, filepath.Base(filepath.Dir(dropIn)), filepath.Base(dropIn)))
	}
	copyTo(0o755, filepath.Join(unitFolder, "noggin-alert"), filepath.Join(root, "etc/noggin/noggin-alert"))
	copyTo(0o755, filepath.Join(unitFolder, "noggin-alert"), filepath.Join(root, "usr/bin/noggin")) // it only has to be there
	return root
}

// verify is what systemd-analyze has to say about the unit, and its error.
func verify(t *testing.T, program, root, name string) (string, error) {
	t.Helper()
	name = strings.Replace(name, "@.", "@noggin-process.", 1)
	cmd := exec.CommandContext(t.Context(), program, "verify", "--root="+root, "--recursive-errors=one", "--man=no", name)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestSystemdHasNothingToSayAboutTheUnits(t *testing.T) {
	t.Parallel()
	program := systemdAnalyze(t)
	root := installed(t)
	for _, name := range allUnits(t) {
		if out, err := verify(t, program, root, name); err != nil || out != "" {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	// It would say so.
	misspelt := filepath.Join(root, "usr/lib/systemd/system/noggin-process.service")
	text, err := os.ReadFile(misspelt)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(misspelt, append(text, "TimoutStopSec=1\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := verify(t, program, root, "noggin-process.service"); err == nil || !strings.Contains(out, "TimoutStopSec") {
		t.Errorf("a misspelt key: %v\n%s", err, out)
	}
}

func TestServicesAreHardened(t *testing.T) {
	t.Parallel()
	program := systemdAnalyze(t)
	units := filepath.Join(installed(t), "usr/lib/systemd/system")
	for _, name := range unitNames(t, "service") {
		path := filepath.Join(units, strings.Replace(name, "@.", "@noggin-process.", 1))
		cmd := exec.CommandContext(t.Context(), program, "security", "--offline=true", "--no-pager", "--threshold=15", path)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestUnitsNameUnitsThatExist(t *testing.T) {
	exists := func(name string) bool {
		name = strings.ReplaceAll(name, "%N", "noggin-process")
		if before, _, ok := strings.Cut(name, "@"); ok {
			name = before + "@" + filepath.Ext(name)
		}
		_, err := os.Stat(filepath.Join(unitFolder, name))
		return err == nil
	}
	named := 0
	for _, name := range allUnits(t) {
		for key := range readUnit(t, name) {
			for _, other := range readUnit(t, name).words(key) {
				if !regexp.MustCompile(`^noggin\S*\.(service|timer|path|target)$`).MatchString(other) {
					continue
				}
				if named++; !exists(other) {
					t.Errorf("%s: %s=%s: there is no such unit", name, key, other)
				}
			}
		}
	}
	if named == 0 {
		t.Error("no unit names another")
	}
}

// Each service that opens the target of copies needs its keys: `validate all` does too.
func TestAllServicesThatOpenTheTargetOfCopiesAreToldOf(t *testing.T) {
	var named []string
	for _, job := range jobs(t) {
		if command := readUnit(t, job+".service").last("Service.ExecStart"); strings.Contains(command, "noggin copy ") || strings.Contains(command, "noggin validate all") {
			named = append(named, job+".service")
		}
	}
	slices.Sort(named)
	for _, name := range []string{"noggin-copy.service", "noggin-copy-verify.service"} {
		text, err := os.ReadFile(filepath.Join(unitFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		_, edited, _ := strings.Cut(string(text), "systemctl edit ")
		edited, _, _ = strings.Cut(edited, "\n")
		if told := slices.Sorted(slices.Values(strings.Fields(edited))); len(named) != 3 || !slices.Equal(told, named) {
			t.Errorf("%s tells of %q, want %q", name, told, named)
		}
	}
}

// TestTheTargetHasAllJobs: what noggin.target is told is done to all, and every
// failure has its alert.
func TestTheTargetHasAllJobs(t *testing.T) {
	enabled := readUnit(t, "noggin.target").words("Install.Also")
	for _, job := range jobs(t) {
		service, timer := readUnit(t, job+".service"), readUnit(t, job+".timer")
		for key, want := range map[string]string{
			"Unit.PartOf": "noggin.target", "Unit.Requires": "noggin-volume.target",
			"Unit.OnFailure": "noggin-alert@%N.service", "Unit.OnSuccess": "noggin-alert@%N:well.service",
			"Service.Type": "oneshot", "Service.User": "noggin",
			"Service.MemoryMax": "1G", "Service.TasksMax": "512", "Service.LimitCORE": "0", "Service.IPAddressDeny": "link-local",
		} {
			if got := service.last(key); got != want {
				t.Errorf("%s.service: %s=%s, want %s", job, key, got, want)
			}
		}
		if after := service.words("Unit.After"); !slices.Contains(after, "noggin.target") || !slices.Contains(after, "noggin-volume.target") {
			t.Errorf("%s.service: After=%s", job, after)
		}
		if !slices.Contains(service.words("Service.SuccessExitStatus"), "130") || service.last("Service.TimeoutStartSec") == "" {
			t.Errorf("%s.service: a stop is no failure, and it must not run for ever: %v", job, service)
		}
		if timer.last("Unit.PartOf") != "noggin.target" || timer.last("Install.WantedBy") != "noggin.target" {
			t.Errorf("%s.timer is not started and stopped with noggin.target", job)
		}
		if slices.Contains(enabled, job+".timer") == (job == "noggin-archive") {
			t.Errorf("%s.timer: enabled with noggin.target: %t", job, slices.Contains(enabled, job+".timer"))
		}
	}
	for _, name := range []string{"noggin-alert@.service", "noggin-volume.target"} {
		if u := readUnit(t, name); len(u["Unit.OnFailure"])+len(u["Unit.Requires"])+len(u["Unit.PartOf"]) > 0 {
			t.Errorf("%s: an alert about an alert, or one that needs what failed: %v", name, u)
		}
	}
}

// commandOf is the noggin command of a line, without the program.
func commandOf(t *testing.T, line string) []string {
	t.Helper()
	words := strings.Fields(line)
	if len(words) < 2 || words[0] != "/usr/bin/noggin" {
		t.Fatalf("%q does not run /usr/bin/noggin", line)
	}
	return words[1:]
}

func TestEveryJobIsACommandWithItsFlags(t *testing.T) {
	for _, job := range jobs(t) {
		lines := readUnit(t, job+".service")["Service.ExecStart"]
		if len(lines) == 0 {
			t.Errorf("%s.service does nothing", job)
		}
		for _, line := range lines {
			if err := understood(commandOf(t, line)); err != nil {
				t.Errorf("%s.service: %s: %v", job, line, err)
			}
		}
	}
	if understood([]string{"process", "--max-time", "four"}) == nil || understood([]string{"process", "--max-tim", "4m"}) == nil {
		t.Error("a wrong flag is taken for a right one")
	}
}

// understood parses a command line as the program does, and does nothing.
func understood(args []string) error {
	app := quietApp()
	var disarm func(*cli.Command)
	disarm = func(c *cli.Command) {
		if c.Action != nil {
			c.Action = func(*cli.Context) error { return nil }
		}
		for _, sub := range c.Subcommands {
			disarm(sub)
		}
	}
	for _, command := range app.Commands {
		disarm(command)
	}
	call, err := cmdline.Parse(&cli.Command{Name: app.Name, Flags: app.Flags, Subcommands: app.Commands}, args)
	if err != nil {
		return err
	}
	return app.Run(call.Args)
}

func TestTheAlertKnowsEveryExitCode(t *testing.T) {
	script, err := os.ReadFile(filepath.Join(unitFolder, "noggin-alert"))
	if err != nil {
		t.Fatal(err)
	}
	for _, exit := range cmdline.ExitMeanings() {
		code := exit.Code
		if code == cmdline.ExitDone || code == cmdline.ExitInterrupted { // good ends: see SuccessExitStatus=
			continue
		}
		if !strings.Contains(string(script), fmt.Sprintf("\n\t%d) ", code)) {
			t.Errorf("noggin-alert does not say what exit code %d means", code)
		}
	}
}

// madeFolders are the folders that noggin.tmpfiles makes at boot.
func madeFolders(t *testing.T) []string {
	t.Helper()
	file, err := os.Open(filepath.Join(unitFolder, "noggin.tmpfiles"))
	if err != nil {
		t.Fatal(err)
	}
	defer release(t, file)
	var folders []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == "d" {
			folders = append(folders, words[1])
		}
	}
	return folders
}

func release(t *testing.T, file *os.File) {
	t.Helper()
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}

func TestEveryPathIsMade(t *testing.T) {
	folders := madeFolders(t)
	paths := reflect.ValueOf(batch.DefaultConfig().Paths.Resolved())
	writable := readUnit(t, "noggin-process.service").words("Service.ReadWritePaths")
	for i := range paths.NumField() {
		if paths.Field(i).Kind() != reflect.String {
			continue // reserve is an amount
		}
		path := paths.Field(i).String()
		if !slices.ContainsFunc(folders, func(folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }) {
			t.Errorf("[paths] %s: noggin.tmpfiles makes no %s", paths.Type().Field(i).Tag.Get("toml"), path)
		}
		if !slices.ContainsFunc(writable, func(folder string) bool { return strings.HasPrefix(path, strings.TrimPrefix(folder, "-")+"/") }) {
			t.Errorf("[paths] %s: no service may write to %s", paths.Type().Field(i).Tag.Get("toml"), path)
		}
	}
	if input := readUnit(t, "noggin-import-csv.path").last("Path.PathChanged"); input != batch.DefaultConfig().Paths.Input {
		t.Errorf("the path unit looks at %s", input)
	}
	// /mnt/backup is the volume of copies: whoever mounts it makes the folder.
	known := append([]string{"/mnt/backup/noggin", "/usr/bin/noggin", "/etc/noggin/noggin-alert", "/etc/noggin/token", batch.DefaultConfig().Seal.KeyFile}, folders...)
	absolute := regexp.MustCompile(`(?:^|[\s=:-])(/[^\s:]+)`)
	for _, name := range allUnits(t) {
		u := readUnit(t, name)
		var state []string
		for _, folder := range u.words("Service.StateDirectory") {
			state = append(state, "/var/lib/"+folder)
		}
		for key, values := range u {
			for _, match := range absolute.FindAllStringSubmatch(strings.Join(values, " "), -1) {
				path := match[1]
				made := slices.Contains(known, path) || slices.ContainsFunc(state, func(folder string) bool { return filepath.Dir(path) == folder })
				if !made && key != "Service.InaccessiblePaths" {
					t.Errorf("%s: %s: nothing makes %s", name, key, path)
				}
			}
		}
	}
}

func TestTheReplacedServiceIsLeftAlone(t *testing.T) {
	t.Parallel()
	// systemd applies noggin-.service.d to all whose name begins with noggin-.
	dropIns, err := filepath.Glob(filepath.Join(unitFolder, "noggin-.service.d", "*.conf"))
	if err != nil || len(dropIns) == 0 {
		t.Fatal(dropIns, err)
	}
	for _, dropIn := range dropIns {
		text, err := os.ReadFile(filepath.Join(unitFolder, "noggin-processor.service.d", filepath.Base(dropIn)))
		if err != nil {
			t.Errorf("%s is for noggin-processor.service too: %v", dropIn, err)
		}
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "#") {
				t.Errorf("noggin-processor.service has a setting: %s", line)
			}
		}
	}
}
