package adopt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"noggin/batch/files"
)

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
