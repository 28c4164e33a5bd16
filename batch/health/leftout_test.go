package health

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"noggin/storage"
)

func TestTheErrorFolderIsToldOfForAWeek(t *testing.T) {
	folder := t.TempDir()
	put := func(name string, age time.Duration) {
		t.Helper()
		path, at := filepath.Join(folder, name), time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	const day = 24 * time.Hour
	put("old upload.csv", 30*day) // moved today
	put("old upload.csv.reason.txt", 0)
	put("last month.csv", 30*day)
	put("last month.csv.reason.txt", 30*day)
	put("settled.csv.reason.txt", 0)
	put("a.csv.rejected.csv", 6*day)
	put("a.csv.rejected-2.csv", 8*day)
	put(".noggin-x.part", 0)
	l := readLeftOut(folder, time.Now())
	if !slices.Equal(l.Unusable, []string{"old upload.csv"}) || !slices.Equal(l.Rejected, []string{"a.csv.rejected.csv"}) {
		t.Errorf("%+v", l)
	}
	flag := judgeLeftOut(&Vitals{LeftOut: l})
	if want := "within the last week 1 export could not be used (old upload.csv), and rows of 1 export were rejected (a.csv.rejected.csv)"; flag.Severity != SeverityYellow || flag.What != want || !strings.Contains(flag.Remedy, folder) {
		t.Errorf("%+v", flag)
	}
	flag = judgeLeftOut(&Vitals{LeftOut: l, NeverImported: []storage.FetchedExport{{Path: "/outbox/day.csv", Host: "a"}, {Path: "/outbox/old upload.csv", Host: "a"}}})
	// Another export may have the name of one that could not be used.
	if want := ", and 2 exports were fetched and never imported (day.csv by the host a, old upload.csv by the host a)"; !strings.HasSuffix(flag.What, want) || !strings.Contains(flag.Remedy, "from the server of its source") {
		t.Errorf("%+v", flag)
	}
	flag = judgeLeftOut(&Vitals{NeverImported: []storage.FetchedExport{{Path: "/outbox/day.csv", Host: "a"}}}) // nine days are no week
	if want := "1 export was fetched and never imported (day.csv by the host a)"; flag.What != want {
		t.Errorf("%+v", flag)
	}
	if flag := judgeLeftOut(&Vitals{LeftOut: readLeftOut(filepath.Join(folder, "missing"), time.Now())}); flag.Severity != "" {
		t.Errorf("a missing folder: %+v", flag)
	}
}
