package process_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/process"
)

// markedMissing counts the records of a form that are noted as missing, and as gone.
func markedMissing(m *batchtest.Mirror, form string) string {
	m.T.Helper()
	return m.Value(`SELECT count(r.missing_since) || ' missing, ' || count(r.gone_at) || ' gone' FROM noggin_schema.refreshes r
		JOIN noggin_schema.noggin_data d ON d.tip = r.record_tip WHERE d.object_type = '` + form + `' AND d.processing_status = 'complete'`)
}

// notDue takes the refreshes of records away, so that only the witness asks for them.
func notDue(m *batchtest.Mirror, which string) {
	m.T.Helper()
	m.Execute(`UPDATE noggin_schema.refreshes r SET due_at = NULL FROM noggin_schema.noggin_data d WHERE d.tip = r.record_tip AND ` + which)
}

// The deleted records are all that is known of their form, so each is a witness of its own
// deletion.
func TestTheLastRecordsOfAFormAreNotedAsGone(t *testing.T) {
	t.Parallel()
	for _, status := range []int{404, 403} {
		for name, othersDue := range map[string]bool{"alone": false, "beside another form": true} {
			t.Run(strconv.Itoa(status)+" "+name, func(t *testing.T) {
				t.Parallel()
				m := batchtest.NewComplete(t, apitest.Options{Records: 4, Forms: []string{"TA", "TA", "TA", "LCD"}, Photos: apitest.None})
				for i := range 3 {
					m.Server.AddFault(apitest.Fault{Status: status, On: apitest.OnRecord, Tips: []string{m.Server.Record(i).Tip}})
				}
				for day, want := range []string{"3 missing, 0 gone", "3 missing, 3 gone"} {
					m.PassDays("2")
					if !othersDue {
						notDue(m, `d.object_type = 'LCD'`)
					}
					if s := m.MustRun(process.Options{UntilEmpty: true}); s.Unsuccessful() != 0 {
						t.Errorf("day %d: summary %+v", day, s)
					}
					if got := markedMissing(m, "TA"); got != want {
						t.Errorf("day %d: %s, want %s", day, got, want)
					}
				}
				if got := markedMissing(m, "LCD"); got != "0 missing, 0 gone" || strings.Contains(m.Logged.String(), "check [api]") {
					t.Errorf("the other form: %s\n%s", got, m.Logged)
				}
			})
		}
	}
}

// Nothing that was answered tells a form that was deleted from an API that is gone.
func TestARunThatNothingAnswersNotesNoRecordAsGone(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, apitest.Options{Records: 4, Forms: []string{"TA", "TA", "TA", "LCD"}, Photos: apitest.None})
	m.Server.AddFault(apitest.Fault{Status: 404})
	m.PassDays("2")
	if _, err := m.TryRun(process.Options{UntilEmpty: true}); err == nil || !strings.Contains(err.Error(), "check [api]") {
		t.Errorf("the run ended with %v", err)
	}
	if got := markedMissing(m, "TA"); got != "0 missing, 0 gone" {
		t.Errorf("%s", got)
	}
}

func TestTheWitnessGoesOnToARecordThatIsStillThere(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, apitest.Options{Records: 4, Forms: []string{"TA"}, Photos: apitest.None})
	deleted := strings.Fields(m.Value(`SELECT string_agg(tip, ' ') FROM (SELECT tip FROM noggin_schema.noggin_data ORDER BY updated_at DESC LIMIT 3) AS d`))
	m.Server.AddFault(apitest.Fault{Status: 404, On: apitest.OnRecord, Tips: deleted})
	m.PassDays("2")
	notDue(m, `d.tip NOT IN ('`+strings.Join(deleted, `', '`)+`')`)
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Gone != 3 {
		t.Errorf("summary %+v", s)
	}
	if got := markedMissing(m, "TA"); got != "3 missing, 0 gone" {
		t.Errorf("%s\n%s", got, m.Logged)
	}
}

func TestTheWitnessesForMediaAreOfDifferentRecords(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(4, 3))
	var asked, records []string
	for page := range 2 {
		known, err := m.DB.KnownAttachments(t.Context(), asked)
		if err != nil || len(known) != 3 {
			t.Fatalf("%d attachments, %v", len(known), err)
		}
		if page == 1 {
			known = known[:1] // only one record is left
		}
		for _, a := range known {
			if slices.Contains(records, a.RecordTip) {
				t.Errorf("page %d: two attachments of a record", page)
			}
			asked, records = append(asked, a.Tip), append(records, a.RecordTip)
		}
	}
}
