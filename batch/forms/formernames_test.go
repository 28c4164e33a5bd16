package forms

import (
	"slices"
	"testing"
)

func TestNamesOfFormerFilesAreReadBack(t *testing.T) {
	t.Parallel()
	const report, file = "LCD-1_inspection_data.txt", "LCD-1_20250917_photo_0042.jpg"
	for _, n := range []int{1, 2, 17} {
		name := FormerReportName(report, 3, n)
		if of, version := FormerReport(name); of != report || version != 3 {
			t.Errorf("%s is read as %s, version %d", name, of, version)
		}
	}
	for name, want := range map[string]FileParts{
		file: {Number: 42}, BesideName(file, "v2"): {Number: 42, Mark: "v2"}, BesideName(file, "v11-1a2b3c4d"): {Number: 42, Mark: "v11", Suffix: "1a2b3c4d"},
		BesideName(file, "suspect"): {Number: 42, Mark: "suspect"}, BesideName(file, "suspect-1a2b3c4d-17"): {Number: 42, Mark: "suspect", Suffix: "1a2b3c4d"},
		BesideName(file, "1a2b3c4d"): {Number: 42, Suffix: "1a2b3c4d"}, BesideName(file, "1a2b3c4d-2"): {Number: 42, Suffix: "1a2b3c4d"},
		BesideName(file, "ab_123"): {Number: 42, Suffix: "ab_123"}, BesideName(file, "edited"): {Number: 42, Suffix: "edited"},
	} {
		if want.Stem = "LCD-1_20250917_photo_0042"; NameParts(name) != want {
			t.Errorf("%s is read as %+v, want %+v", name, NameParts(name), want)
		}
	}
	for _, name := range []string{report, "LCD-1_20250917_photo_0042-v2.jpg.bak", "LCD-1_20250917_photo_0042 (copy).jpg", "LCD-1_20250917_photo_0042-1a2b3c4d5.jpg"} {
		if got := NameParts(name); got != (FileParts{Stem: Stem(name)}) {
			t.Errorf("%s is read as %+v", name, got)
		}
	}
	for _, other := range []string{report, file, "a.v.txt", ".v99999999999999999999.txt"} {
		if _, version := FormerReport(other); version != 0 {
			t.Errorf("%s is read as a former report", other)
		}
	}
}

func TestNamesAreTakenOnlyAsAWholeSet(t *testing.T) {
	t.Parallel()
	stems := map[string]string{"a_20250917_photo_001": "t1", "a_20250917_photo_002": "t2"}
	for name, c := range map[string]struct {
		names []string
		want  int
	}{
		"all":           {[]string{"a_20250917_photo_001.jpg", "a_20250917_photo_002.png", "a_inspection_data.txt"}, 2},
		"one missing":   {[]string{"a_20250917_photo_001.jpg"}, 0},
		"one too many":  {[]string{"a_20250917_photo_001.jpg", "a_20250917_photo_002.png", "a_20250917_photo_003.jpg"}, 0},
		"one twice":     {[]string{"a_20250917_photo_001.jpg", "a_20250917_photo_001.png", "a_20250917_photo_002.png"}, 0},
		"other strays":  {[]string{"a_20250917_photo_001.jpg", "a_20250917_photo_002.png", "notes.txt"}, 2},
		"another field": {[]string{"a_20250917_load_001.jpg", "a_20250917_photo_002.png"}, 0},
	} {
		if got := ByStem(stems, c.names); len(got) != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestTheNameOfAFileThatCameAgainTellsWhichOneIsDamaged(t *testing.T) {
	t.Parallel()
	const stem = "LCD-again-1_20250917_photo_0042"
	for damaged, want := range map[string]string{
		".jpg": "-again.jpg", "-1a2b3c4d.jpg": "-again.jpg", "-again.jpg": "-again.jpg", "-again-1a2b3c4d-2.jpg": "-again.jpg",
		"-v2.jpg": "-v2-again.jpg", "-v2-again-1a2b3c4d.jpg": "-v2-again.jpg", "-suspect-1a2b3c4d.jpg": "-suspect-again.jpg",
	} {
		got := AgainName(stem + damaged)
		if got != stem+want {
			t.Errorf("%s: %s, want %s", damaged, got, want)
		}
		if parts, of := NameParts(got), NameParts(stem+damaged); !parts.Again || parts.Stem != stem || parts.Number != 42 || parts.Mark != of.Mark {
			t.Errorf("%s is read as %+v", got, parts)
		}
	}
	if got := AgainName("IMG.jpg"); got != "IMG-again.jpg" {
		t.Error(got)
	}
}

func TestTheWholeFileBesideADamagedOneIsOfTheSameAttachmentAndVersion(t *testing.T) {
	t.Parallel()
	names := []string{"a_photo_001.jpg", "a_photo_001-1a2b3c4d.jpg", "a_photo_0011-again.jpg", "a_photo_001-v2-again.jpg", "a_photo_001-again.png"}
	for damaged, want := range map[string]string{
		"a_photo_001.jpg": "a_photo_001-again.png", "a_photo_001-1a2b3c4d.jpg": "a_photo_001-again.png", "a_photo_001-v2.jpg": "a_photo_001-v2-again.jpg",
		"a_photo_001-suspect.jpg": "", "a_photo_002.jpg": "", "a_photo_0011.jpg": "a_photo_0011-again.jpg",
	} {
		if got := WholeBeside(damaged, slices.Values(names)); got != want {
			t.Errorf("beside %s: %q, want %q", damaged, got, want)
		}
	}
}
