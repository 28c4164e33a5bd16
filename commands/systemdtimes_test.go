package commands

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The year that the timers are followed through; daylight saving in Sydney ends on
// 5 April and begins on 4 October of it.
var (
	yearStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	yearEnd   = yearStart.AddDate(1, 0, 0)
)

var elapses = regexp.MustCompile(`(?m)(?:Next elapse|Iter\. #\d+|\(in UTC\)): \w+ (\S+ \S+) UTC$`)

// often are the jobs that run more than once a day, and how long after each other.
var often = map[string]time.Duration{
	"noggin-process": 5 * time.Minute, "noggin-import-csv": 15 * time.Minute, "noggin-validate-quick": time.Hour, "noggin-metrics": 5 * time.Minute, "noggin-page": 15 * time.Minute,
	"noggin-copy": time.Hour,
}

// span is the time from start to before end.
type span struct{ start, end time.Time }

// spans are the times that a job is followed through: the year, or the days about the two
// changes of daylight saving where it runs often.
func spans(job string) []span {
	if _, ok := often[job]; !ok {
		return []span{{yearStart, yearEnd}}
	}
	days := func(month time.Month) span {
		start := time.Date(2026, month, 3, 0, 0, 0, 0, time.UTC)
		return span{start, start.AddDate(0, 0, 3)}
	}
	return []span{days(time.April), days(time.October)}
}

// runTimes are the times at which the job's timer fires on a host in the zone.
func runTimes(t *testing.T, program, zone, job string) (times []time.Time) {
	t.Helper()
	for _, s := range spans(job) {
		most := 366
		if gap, ok := often[job]; ok {
			most = int(s.end.Sub(s.start)/gap) + 1
		}
		calendar := readUnit(t, job+".timer").last("Timer.OnCalendar")
		base := s.start.Add(-time.Second).Format(time.DateTime) + " UTC"
		cmd := exec.CommandContext(t.Context(), program, "calendar", "--base-time="+base, "--iterations="+strconv.Itoa(most), calendar)
		cmd.Env = append(os.Environ(), "TZ="+zone, "LC_ALL=C")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", calendar, err)
		}
		for _, match := range elapses.FindAllStringSubmatch(string(out), -1) {
			at, err := time.Parse(time.DateTime, match[1])
			if err != nil {
				t.Fatal(err)
			}
			if at.Before(s.end) {
				times = append(times, at)
			}
		}
	}
	return times
}

// period names the day, week, … of the time that a job has to run in once.
func period(job string, at time.Time) string {
	switch job {
	case "noggin-weekly", "noggin-archive-verify", "noggin-copy-verify":
		year, week := at.ISOWeek() // ends with its Sunday
		return fmt.Sprint(year, week)
	case "noggin-monthly", "noggin-archive":
		return at.Format("2006-01")
	default:
		return at.Format(time.DateOnly)
	}
}

func TestTimersRunInEveryPeriod(t *testing.T) {
	t.Parallel()
	program := systemdAnalyze(t)
	for _, zone := range []string{"Australia/Perth", "Australia/Sydney"} {
		place, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		var locked []time.Time // when a job wants the maintenance lock
		for _, job := range jobs(t) {
			times := runTimes(t, program, zone, job)
			if gap, ok := often[job]; ok {
				runs := 0
				for _, s := range spans(job) {
					runs += int(s.end.Sub(s.start) / gap)
				}
				if len(times) != runs {
					t.Errorf("%s in %s: %d runs, want %d", job, zone, len(times), runs)
				}
				for i := 1; i < len(times); i++ {
					if after := times[i].Sub(times[i-1]); after != gap && after < 24*time.Hour { // the next span
						t.Errorf("%s in %s: from %s to %s", job, zone, times[i-1], times[i])
					}
				}
				continue
			}
			if readUnit(t, job+".timer").last("Timer.Persistent") != "yes" {
				t.Errorf("%s.timer: a run missed while the host was down is not made up for", job)
			}
			runs := map[string]int{}
			for _, at := range times {
				runs[period(job, at.In(place))]++
			}
			for at := yearStart.AddDate(0, 0, 1); at.Before(yearEnd.AddDate(0, 0, -7)); at = at.AddDate(0, 0, 1) {
				if n := runs[period(job, at.In(place))]; n != 1 {
					t.Errorf("%s in %s: %d runs in the period of %s", job, zone, n, at.Format(time.DateOnly))
				}
			}
			if command := readUnit(t, job+".service").last("Service.ExecStart"); strings.Contains(command, " maintain ") || strings.Contains(command, " archive create") {
				locked = append(locked, times...)
			}
		}
		slices.SortFunc(locked, time.Time.Compare)
		if len(locked) < 365+52+12+12 {
			t.Errorf("only %d runs that take the lock", len(locked))
		}
		for i := 1; i < len(locked); i++ {
			if locked[i].Sub(locked[i-1]) < time.Hour {
				t.Errorf("two that take the lock, in %s: %s and %s", zone, locked[i-1].In(place), locked[i].In(place))
			}
		}
	}
}

// TestSundaysAreApart: on the first Sunday the backup is made, tried, and then the
// monthly maintenance done.
func TestSundaysAreApart(t *testing.T) {
	t.Parallel()
	program := systemdAnalyze(t)
	var at []string
	for _, job := range []string{"noggin-backup", "noggin-weekly", "noggin-monthly", "noggin-validate"} {
		times := runTimes(t, program, "Australia/Sydney", job)
		i := slices.IndexFunc(times, func(at time.Time) bool { return at.After(time.Date(2026, 10, 3, 14, 0, 0, 0, time.UTC)) })
		at = append(at, times[i].Format(time.DateTime))
	}
	if want := []string{"2026-10-03 16:30:00", "2026-10-03 17:30:00", "2026-10-03 18:30:00", "2026-10-03 19:30:00"}; !slices.Equal(at, want) {
		t.Errorf("on the day that daylight saving begins: %v, want %v", at, want)
	}
}

// cronJob is a line of noggin.cron.
type cronJob struct {
	allowed [5][60]bool // minutes, hours, days, months, days of the week
	weekday int         // that the command itself insists on, 7 being Sunday; 0: none
	command string
}

var (
	cronLine  = regexp.MustCompile(`^#?(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+noggin (.*)$`)
	cronGuard = regexp.MustCompile(`date \+\\%u\)" != (\d)`)
	cronAlert = regexp.MustCompile(`noggin-alert (\S+) +-- (.*)$`)
	cronField = regexp.MustCompile(`^(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?$`)
)

func cronJobs(t *testing.T) map[string]cronJob {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(unitFolder, "noggin.cron"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]cronJob{}
	for line := range strings.Lines(string(text)) {
		match := cronLine.FindStringSubmatch(strings.TrimSpace(line))
		if match == nil {
			continue
		}
		var job cronJob
		for i := range job.allowed {
			job.allowed[i] = allowedBy(t, match[1+i])
		}
		if guard := cronGuard.FindStringSubmatch(match[6]); guard != nil {
			job.weekday = number(t, guard[1], 0)
		}
		for part := range strings.SplitSeq(match[6], ";") {
			if run := cronAlert.FindStringSubmatch(part); run != nil {
				job.command = strings.TrimSpace(run[2])
				found[run[1]] = job
			}
		}
	}
	return found
}

// allowedBy reads a field such as *, 5, 1-7, */5, 2-59/15.
func allowedBy(t *testing.T, field string) (allowed [60]bool) {
	t.Helper()
	match := cronField.FindStringSubmatch(field)
	if match == nil {
		t.Fatalf("%q is no field of cron's", field)
	}
	low := number(t, match[1], 0)
	high := number(t, match[2], low)
	if match[1] == "" {
		high = len(allowed) - 1
	}
	for i := low; i <= high; i += number(t, match[3], 1) {
		allowed[i] = true
	}
	return allowed
}

func number(t *testing.T, text string, otherwise int) int {
	t.Helper()
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// runsIn returns when cron starts the job in the hour that begins then.
func (j cronJob) runsIn(hour time.Time) (times []time.Time) {
	weekday := int(hour.Weekday())
	for i, value := range []int{hour.Hour(), hour.Day(), int(hour.Month()), weekday} {
		if !j.allowed[1+i][value] {
			return nil
		}
	}
	if j.weekday != 0 && j.weekday%7 != weekday {
		return nil
	}
	for minute, allowed := range j.allowed[0] {
		if allowed {
			times = append(times, hour.Add(time.Duration(minute)*time.Minute).UTC())
		}
	}
	return times
}

func TestCronHasTheSameJobsAtTheSameTimes(t *testing.T) {
	t.Parallel()
	program := systemdAnalyze(t)
	perth, err := time.LoadLocation("Australia/Perth")
	if err != nil {
		t.Fatal(err)
	}
	cron := cronJobs(t)
	var commands, wanted []string
	for _, job := range cron {
		commands = append(commands, job.command)
	}
	for _, job := range jobs(t) {
		wanted = append(wanted, readUnit(t, job+".service")["Service.ExecStart"]...)
		var times []time.Time
		for _, s := range spans(job) {
			for hour := s.start; hour.Before(s.end); hour = hour.Add(time.Hour) {
				times = append(times, cron[job].runsIn(hour.In(perth))...)
			}
		}
		if want := runTimes(t, program, "Australia/Perth", job); !slices.Equal(times, want) {
			t.Errorf("%s: cron runs it %d times, the timer %d times, or at others", job, len(times), len(want))
		}
	}
	slices.Sort(commands)
	slices.Sort(wanted)
	if !slices.Equal(commands, wanted) {
		t.Errorf("cron runs\n%s\nand the units\n%s", strings.Join(commands, "\n"), strings.Join(wanted, "\n"))
	}
}
