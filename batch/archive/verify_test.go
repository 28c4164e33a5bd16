package archive

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/storage"
)

// The tests of verification share one shelf with an archive of each of five months.
func TestVerification(t *testing.T) {
	t.Parallel()
	s := newShelf(t, apitest.Options{Records: 20, Photos: apitest.Fixed(1), MediaBytes: apitest.Range{Min: 2000, Max: 3000}, FirstDay: time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC), Days: 150})
	archives := s.mustCreate(everything).Archives
	if len(archives) != 5 {
		t.Fatalf("%d archives", len(archives))
	}
	for _, test := range []struct {
		name string
		do   func(*testing.T, *shelf, []Created)
	}{
		{"what it finds stays until it is mended", findingsStay},
		{"each archive is in one part", eachIsInOnePart},
		{"a changed file is found although the recorded hash was changed too", changedWithItsHashIsFound},
		{"another recorded hash is found although every file is right", otherHashIsFound},
		{"a folder that is not mounted is no damage", unmountedIsNoDamage},
		{"the week's share is read once by all hosts", weeksShareIsReadOnce},
		{"another archive of the same name is found", sameNameIsFound},
	} {
		t.Run(test.name, func(t *testing.T) { test.do(t, s, archives) })
	}
}

func (s *shelf) verify(opts VerifyOptions) Verification {
	s.T.Helper()
	v, err := s.Verify(s.T.Context(), opts)
	if err != nil {
		s.T.Fatal(err)
	}
	return v
}

func findingsStay(t *testing.T, s *shelf, archives []Created) {
	s.exec(`UPDATE archives SET verified_at = now() - interval '50 days', checked_at = now() - interval '50 days'`)
	bad, gone := archives[1], archives[3]
	flipBit(t, bad.Path, bad.SizeBytes/2)
	aside := filepath.Join(t.TempDir(), gone.Name)
	batchtest.Must(t, os.Rename(gone.Path, aside))
	for _, v := range s.verify(VerifyOptions{}).Archives {
		if wrong := v.Name == bad.Name || v.Name == gone.Name; v.OK == wrong || (v.Problem != "") != wrong {
			t.Errorf("%+v", v)
		}
	}
	problems := func(look func(a storage.Archive)) (names []string) {
		list, err := s.DB.Archives(t.Context())
		batchtest.Must(t, err)
		for _, a := range list {
			if a.Problem != nil {
				names = append(names, a.Name)
			}
			look(a)
		}
		return names
	}
	// An archive that is not there has no wrong content: once it is back, nothing is left of it.
	got := problems(func(a storage.Archive) {
		checked, verified := time.Since(*a.CheckedAt) < time.Hour, time.Since(*a.VerifiedAt) < time.Hour
		if checked == (a.Name == gone.Name) || verified != (checked && a.Problem == nil) {
			t.Errorf("%s: verified %s, checked %s", a.Name, a.VerifiedAt, a.CheckedAt)
		}
	})
	if !slices.Equal(got, []string{bad.Name}) {
		t.Errorf("problems of %v", got)
	}
	flipBit(t, bad.Path, bad.SizeBytes/2)
	batchtest.Must(t, os.Rename(aside, gone.Path))
	s.verify(VerifyOptions{Name: bad.Name})
	if v := s.verify(VerifyOptions{Name: gone.Name}); len(v.Archives) != 1 || !v.Archives[0].OK || len(problems(func(storage.Archive) {})) != 0 {
		t.Errorf("mended: %+v", v)
	}
}

func eachIsInOnePart(t *testing.T, s *shelf, archives []Created) {
	times := map[string]int{}
	for part := 1; part <= 3; part++ {
		for _, v := range s.verify(VerifyOptions{Part: part, Parts: 3}).Archives {
			times[v.Name]++
		}
	}
	for _, a := range archives {
		if times[a.Name] != 1 {
			t.Errorf("%s is in %d of three parts", a.Name, times[a.Name])
		}
	}
}

func changedWithItsHashIsFound(t *testing.T, s *shelf, archives []Created) {
	bad := archives[2]
	flipBit(t, bad.Path, bad.SizeBytes/2)
	_, sum, err := files.HashFile(t.Context(), bad.Path)
	batchtest.Must(t, err)
	s.exec(`UPDATE archives SET hash_sha256 = $2 WHERE name = $1`, bad.Name, sum)
	if v := s.verify(VerifyOptions{Name: bad.Name}).Archives; !v[0].OK {
		t.Errorf("the archive's bytes are not compared alone: %+v", v)
	}
	if v := s.verify(VerifyOptions{Name: bad.Name, Deep: true}).Archives; v[0].OK {
		t.Errorf("not found: %+v", v)
	}
	flipBit(t, bad.Path, bad.SizeBytes/2)
	s.exec(`UPDATE archives SET hash_sha256 = $2 WHERE name = $1`, bad.Name, bad.SHA256)
	if v := s.verify(VerifyOptions{Name: bad.Name, Deep: true}).Archives; !v[0].OK {
		t.Errorf("mended: %+v", v)
	}
}

func otherHashIsFound(t *testing.T, s *shelf, archives []Created) {
	other := archives[2]
	s.exec(`UPDATE archives SET hash_sha256 = $2 WHERE name = $1`, other.Name, archives[3].SHA256)
	for _, deep := range []bool{false, true} {
		if v := s.verify(VerifyOptions{Name: other.Name, Deep: deep}).Archives; v[0].OK {
			t.Errorf("deep %t: not found: %+v", deep, v)
		}
	}
	s.exec(`UPDATE archives SET hash_sha256 = $2 WHERE name = $1`, other.Name, other.SHA256)
	if v := s.verify(VerifyOptions{Name: other.Name}).Archives; !v[0].OK {
		t.Errorf("mended: %+v", v)
	}
}

// A volume that is not mounted says nothing about a thousand archives.
func unmountedIsNoDamage(t *testing.T, s *shelf, archives []Created) {
	batchtest.Must(t, os.Rename(s.Paths.Archive, s.Paths.Archive+".away"))
	for _, opts := range []VerifyOptions{{}, {Due: true}} {
		if v := s.verify(opts); len(v.Archives) != 0 || len(v.Unmounted) != 1 || v.Unmounted[0].Folder() != s.Paths.Archive {
			t.Errorf("%+v", v)
		}
	}
	if n := s.scalar(`SELECT count(*) FROM archives WHERE problem IS NOT NULL`); n != 0 {
		t.Errorf("%d problems were recorded", n)
	}
	// A new archive would go to the volume below, and hide it.
	if _, err := s.create(everything); err == nil || !strings.Contains(err.Error(), "mount its volume") {
		t.Errorf("archived where the volume is not mounted: %v", err)
	}
	if _, err := os.Stat(s.Paths.Archive); err == nil {
		t.Error("the folder was made")
	}
	batchtest.Must(t, os.Rename(s.Paths.Archive+".away", s.Paths.Archive))
	if v := s.verify(VerifyOptions{}); len(v.Archives) != len(archives) || len(v.Unmounted) != 0 {
		t.Errorf("mounted again: %+v", v)
	}
}

// Several hosts have the same timer: each archive of the week's share is read by one.
func weeksShareIsReadOnce(t *testing.T, s *shelf, archives []Created) {
	s.exec(`UPDATE archives SET verified_at = now() - (id % 40 + 10) * interval '1 day', checked_at = NULL, created_at = now() - interval '1 year'`)
	s.exec(`UPDATE archives SET verified_at = now() - interval '85 days' WHERE name = $1 OR name = $2`, archives[2].Name, archives[4].Name)
	var mu sync.Mutex
	read := map[string]int{}
	var hosts sync.WaitGroup
	for range 3 {
		hosts.Go(func() {
			v, err := s.Verify(t.Context(), VerifyOptions{Due: true})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, one := range v.Archives {
				read[one.Name]++
			}
		})
	}
	hosts.Wait()
	for name, times := range read {
		if times != 1 {
			t.Errorf("%s was verified %d times", name, times)
		}
	}
	if read[archives[2].Name] == 0 || read[archives[4].Name] == 0 || len(read) > 2 {
		t.Errorf("verified: %v", read)
	}
	// What only another host sees is left to that one.
	s.exec(`UPDATE archives SET host = 'elsewhere', path = '/elsewhere/' || name, verified_at = NULL, checked_at = NULL, seen_at = now()`)
	batchtest.Must(t, os.Rename(s.Paths.Archive, s.Paths.Archive+".away"))
	if v := s.verify(VerifyOptions{Due: true}); len(v.Archives)+len(v.Unmounted) != 0 {
		t.Errorf("%+v", v)
	}
	batchtest.Must(t, os.Rename(s.Paths.Archive+".away", s.Paths.Archive))
}

// An archive of the same name in its place is another one, even when all its files are right.
func sameNameIsFound(t *testing.T, s *shelf, archives []Created) {
	content, err := os.ReadFile(archives[1].Path)
	batchtest.Must(t, err)
	batchtest.Must(t, os.WriteFile(archives[0].Path, content, 0o644))
	if v := s.verify(VerifyOptions{Name: archives[0].Name}); v.Archives[0].OK {
		t.Errorf("%+v", v)
	}
	if r, err := s.Register(t.Context(), RegisterOptions{File: archives[0].Path}); err == nil || !strings.Contains(err.Error(), "with other content, is recorded") {
		t.Errorf("registered: %+v, %v", r, err)
	}
	if n := s.scalar(`SELECT count(*) FROM archives WHERE problem IS NOT NULL AND state = $1`, storage.ArchiveDone); n != 1 {
		t.Errorf("%d archives have a problem", n)
	}
}
