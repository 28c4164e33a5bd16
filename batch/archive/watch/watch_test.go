package watch

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"noggin/storage"
)

func at(t time.Time) *time.Time { return &t }

func TestALookTellsWhereEachArchiveIs(t *testing.T) {
	t.Parallel()
	now := time.Now()
	root := t.TempDir()
	write := func(name string, size int) {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("disk/whole", 100)
	write("disk/cut", 60)
	write("own/moved", 100)
	write("own/cut-there", 100)
	write("disk/cut-there", 60)
	write("file", 1)
	for _, dir := range []string{"bare", "disk/a-folder"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		path, host string
		state      string
		seen       time.Duration // ago; 0: never
		want       Sight
		found      string
	}{
		{"disk/whole", "here", storage.ArchiveDone, 0, There, "disk/whole"},
		{"disk/whole", "there", storage.ArchiveKept, 0, There, "disk/whole"},
		{"disk/cut", "here", storage.ArchiveDone, 0, WrongSize, "disk/cut"},
		{"disk/cut", "there", storage.ArchiveDone, time.Hour, WrongSize, "disk/cut"},
		{"disk/cut-there", "here", storage.ArchiveDone, 0, There, "own/cut-there"},
		{"disk/gone", "here", storage.ArchiveDone, time.Hour, Missing, ""},
		{"disk/gone", "there", storage.ArchiveDone, time.Hour, Elsewhere, ""},
		{"disk/gone", "there", storage.ArchiveDone, 27 * time.Hour, Missing, ""},
		{"disk/gone", "there", storage.ArchiveDone, 0, Missing, ""},
		{"disk/a-folder", "here", storage.ArchiveDone, 0, Missing, ""},
		{"disk/gone", "here", storage.ArchiveWriting, 0, Unwritten, ""},
		{"away/moved", "here", storage.ArchiveDone, 0, There, "own/moved"},
		{"away/gone", "here", storage.ArchiveDone, time.Hour, Unmounted, ""},
		{"away/gone", "there", storage.ArchiveDone, time.Hour, Elsewhere, ""},
		{"bare/gone", "here", storage.ArchiveRemoving, 0, Unmounted, ""},
		{"file/gone", "here", storage.ArchiveDone, 0, Unmounted, ""},
	} {
		a := storage.Archive{Name: filepath.Base(test.path), Path: filepath.Join(root, test.path), Host: test.host, State: test.state, SizeBytes: 100}
		if test.seen != 0 {
			a.SeenAt = at(now.Add(-test.seen))
		}
		got := Look(t.Context(), []storage.Archive{a}, filepath.Join(root, "own"), "here", now)[0]
		found := test.found
		if found != "" {
			found = filepath.Join(root, found)
		}
		if got.Sight != test.want || got.Found != found || (got.Why != "") != (got.Sight == Unmounted || got.Sight == Elsewhere && filepath.Dir(test.path) == "away") {
			t.Errorf("%+v: %s at %q (%s)", test, got.Sight, got.Found, got.Why)
		}
	}
}

// A network volume that is away may never answer. The others are judged all the same.
func TestAFolderThatDoesNotAnswerHoldsNothingUp(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	defer close(release)
	d := disk{
		stat: func(name string) (fs.FileInfo, error) {
			if filepath.Dir(name) == "/silent" {
				<-release
			}
			return os.Stat(name)
		},
		readDir: os.ReadDir, patience: 300 * time.Millisecond,
	}
	archives := []storage.Archive{
		{Name: "b", Path: "/silent/b", Host: "here", State: storage.ArchiveDone, SizeBytes: 1},
		{Name: "a", Path: filepath.Join(root, "a"), Host: "here", State: storage.ArchiveDone, SizeBytes: 1},
		{Name: "c", Path: "/silent/c", Host: "here", State: storage.ArchiveDone, SizeBytes: 1},
	}
	// The answer of the other folder may come at the very end on a busy machine: only the
	// silent one is certain.
	seen := d.look(t.Context(), archives, "/none", "here", time.Now())
	for _, i := range []int{0, 2} {
		if seen[i].Sight != Unmounted || seen[i].Why == "" || seen[i].Name != archives[i].Name {
			t.Errorf("%+v", seen[i])
		}
	}
	if seen[1].Name != "a" {
		t.Errorf("%+v", seen[1])
	}
}

// A year of weekly verification: whatever the sizes, no archive is older than a quarter, and
// no week reads much more than its share.
func TestEveryArchiveIsVerifiedWithinAQuarter(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 4, 5, 0, 0, 0, time.UTC)
	for name, size := range map[string]func(i int) int64{
		"equal":       func(int) int64 { return 1000 },
		"one is half": func(i int) int64 { return map[bool]int64{true: 60_000, false: 1000}[i == 17] },
		"growing":     func(i int) int64 { return int64(100 + 10*i) },
		"empty":       func(int) int64 { return 0 },
	} {
		for _, missed := range []int{0, 30} { // the week in which the host was down
			archives := make([]storage.Archive, 60)
			var total, largest int64
			for i := range archives {
				archives[i] = storage.Archive{ID: int64(i + 1), State: storage.ArchiveDone, SizeBytes: size(i), CreatedAt: begin.AddDate(0, 0, -40*7), VerifiedAt: at(begin)}
				total, largest = total+size(i), max(largest, size(i))
			}
			archives = append(archives, storage.Archive{ID: 99, State: storage.ArchiveWriting, CreatedAt: begin})
			for w := 1; w <= 52; w++ {
				now := begin.Add(time.Duration(w) * week).Add(time.Duration(w%3) * time.Hour) // timers are not exact
				if w == missed {
					continue
				}
				for _, a := range archives[:60] {
					if age := now.Sub(Checked(a)); age > Quarter+24*time.Hour || missed == 0 && age > Quarter {
						t.Fatalf("%s, week %d: archive %d was verified %s ago", name, w, a.ID, age)
					}
				}
				due := Due(archives, now)
				var read int64
				for i, d := range due {
					if i > 0 && Checked(due[i-1]).After(Checked(d)) {
						t.Fatalf("%s: the oldest verification is not the first", name)
					}
					read += d.SizeBytes
					archives[d.ID-1].CheckedAt = at(now)
					if d.ID%7 != 0 { // every seventh is damaged
						archives[d.ID-1].VerifiedAt = at(now)
					}
				}
				if share := total/weeklyParts + largest; read > share && missed == 0 {
					t.Errorf("%s, week %d: %d bytes of %d were read", name, w, read, total)
				}
				if again := Due(archives, now.Add(time.Hour)); len(again) > 0 {
					t.Errorf("%s, week %d: %d are due again an hour later", name, w, len(again))
				}
			}
		}
	}
	if due := Due(nil, begin); len(due) != 0 {
		t.Errorf("nothing: %v", due)
	}
}
