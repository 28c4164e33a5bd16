package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"noggin/batch/files"
)

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
		if got := byStem(stems, c.names); len(got) != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// FuzzReportFiles looks for a text that makes the reader panic or give a path out
// of the record's folder.
func FuzzReportFiles(f *testing.F) {
	for _, name := range []string{"LCD.txt", "FPI.txt", "hostile.txt"} {
		text, err := os.ReadFile(filepath.Join("..", "textreport", "testdata", "reports", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, found := readReportFiles(strings.NewReader(text), "2025/09/x")
		for tip, file := range found {
			if !strings.HasPrefix(file.path, "2025/09/x/") || files.ValidPath(file.path) != nil || tip == "" {
				t.Errorf("%q: %+v", tip, file)
			}
		}
	})
}
