package forms

import "testing"

func TestNamesOfFormerFilesAreReadBack(t *testing.T) {
	t.Parallel()
	const report, file = "LCD-1_inspection_data.txt", "LCD-1_20250917_photo_0042.jpg"
	for _, n := range []int{1, 2, 17} {
		name := FormerReportName(report, 3, n)
		if of, version := FormerReport(name); of != report || version != 3 {
			t.Errorf("%s is read as %s, version %d", name, of, version)
		}
	}
	for _, mark := range []string{"suspect", "v2", "v11"} {
		for _, name := range []string{BesideName(file, mark), BesideName(file, mark+"-1a2b3c4d")} {
			if stem, number, got := NameParts(name); stem != "LCD-1_20250917_photo_0042" || number != 42 || got != mark {
				t.Errorf("%s is read as %s, %d, %s", name, stem, number, got)
			}
		}
	}
	if stem, number, mark := NameParts(file); stem != "LCD-1_20250917_photo_0042" || number != 42 || mark != "" {
		t.Errorf("%s is read as %s, %d, %s", file, stem, number, mark)
	}
	for _, other := range []string{report, file, "a.v.txt", ".v99999999999999999999.txt"} {
		if _, version := FormerReport(other); version != 0 {
			t.Errorf("%s is read as a former report", other)
		}
	}
}
