package powercut

import (
	"cmp"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// flushTrial is a flush point and the commands that need it.
type flushTrial struct {
	point string // "": the trial's name
	steps []string
	// unseen says why leaving it out does no damage on these file systems; "": it does.
	unseen string
	only   string // the file system that shows it; "": each
}

// oneJournal is why a flush can be needless on ext4 and XFS, and needed elsewhere.
const oneJournal = "ext4 and XFS write one journal in order, so that the flush of a name in a folder covers the folder's own name, which is older"

var flushTrials = map[string]flushTrial{
	"attachment":    {steps: []string{"process"}},
	"report":        {steps: []string{"process"}},
	"restored file": {steps: []string{"archive restore"}},
	"adopted file":  {steps: []string{"process --adopt"}},
	// ext4 writes its whole journal for any folder, so that only a folder that is known to be on disk shows it.
	"folder":         {steps: []string{"archive restore", "process"}},
	"folder's entry": {steps: []string{"process"}, unseen: oneJournal},
	"removal":        {steps: []string{"archive create"}},
	"staged file":    {steps: []string{"maintain backup", "import-csv"}},
	"staged name":    {steps: []string{"import-csv"}},
	"hashed file":    {steps: []string{"maintain backup"}},
	"partial file":   {steps: []string{"archive create"}},
	"final name":     {steps: []string{"archive create", "maintain backup"}},
	"made folder":    {steps: []string{"archive restore"}, unseen: oneJournal},
	"moved file":     {steps: []string{"import-csv"}},
	// What keeps evidence needs some of them too.
	"version's attachment": {point: "attachment", steps: []string{"refresh"}},
	"copy":                 {point: "restored file", steps: []string{"copy run"}},
	// ext4 writes its whole journal when the folder's entry is flushed, once in each process.
	"copy's name": {point: "folder", steps: []string{"copy run"}, only: "xfs"},
	"log":         {point: "staged file", steps: []string{"seal"}},
	"log's name":  {point: "staged name", steps: []string{"seal"}},
	"bag":         {steps: []string{"export"}},
}

// leavesOut is the flush point that a trial leaves out.
func leavesOut(name string, trial flushTrial) string { return cmp.Or(trial.point, name) }

// flushPoints reads the names of the flush points from the source.
func flushPoints(t *testing.T) (points []string) {
	t.Helper()
	for path, name := range map[string]*regexp.Regexp{
		"../../batch/files/flush.go":      regexp.MustCompile(`flushPoint = "(.*)"`),
		"../../batch/bag/flushleftout.go": regexp.MustCompile(`== "(.*)"`),
	} {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found := name.FindAllStringSubmatch(string(source), -1)
		if len(found) == 0 {
			t.Errorf("%s has no flush point", path)
		}
		for _, m := range found {
			points = append(points, m[1])
		}
	}
	return points
}

func TestEveryFlushPointHasATrial(t *testing.T) {
	points := flushPoints(t)
	for _, point := range points {
		if _, ok := flushTrials[point]; !ok {
			t.Errorf("no trial leaves out the flush point %q", point)
		}
	}
	for name, trial := range flushTrials {
		if point := leavesOut(name, trial); !slices.Contains(points, point) {
			t.Errorf("there is no flush point %q", point)
		}
	}
}

// TestALeftOutFlushIsDamage shows that the trial sees what it is for.
func TestALeftOutFlushIsDamage(t *testing.T) {
	if os.Getenv("NOGGIN_POWER") != "flushes" {
		t.Skip("`make test-power FLUSHES=out` runs it")
	}
	if why := whyNot(); why != "" {
		t.Skip(why)
	}
	noggin := buildNoggin(t, "powertest")
	for _, name := range slices.Sorted(maps.Keys(flushTrials)) {
		trial := flushTrials[name]
		for _, system := range fileSystems {
			if trial.only != "" && trial.only != system.name {
				continue
			}
			t.Run(name+"/"+system.name, func(t *testing.T) {
				leaveOut(t, newTrial(t, system, noggin, seedOf(t), "NOGGIN_LEAVE_OUT_FLUSH="+leavesOut(name, trial)), trial)
			})
		}
	}
}

// leaveOut cuts until there is damage.
func leaveOut(t *testing.T, r *trial, trial flushTrial) {
	t.Helper()
	r.aimed = true
	most := 80
	if trial.unseen != "" {
		most = 10
	}
	r.finishRecords()
	for r.steps < most {
		damage := steps[trial.steps[r.steps%len(trial.steps)]](r)
		damage = append(damage, r.check()...)
		switch {
		case len(damage) == 0:
			continue
		case trial.unseen != "":
			t.Fatalf("there is damage, which was thought to be impossible because %s:\n%s", trial.unseen, strings.Join(damage, "\n"))
		}
		t.Logf("damage after %d cuts, as it has to be: %s", r.steps, damage[0])
		return
	}
	if trial.unseen == "" {
		t.Errorf("%d cuts did no damage", r.steps)
	} else {
		t.Logf("no damage in %d cuts: %s", r.steps, trial.unseen)
	}
}
