package maintain

import (
	"strings"
	"testing"

	"noggin/storage"
)

// The fields of a manifest are printed as commands and SQL: none is longer or odder than noggin's.
func TestFieldsOfAManifestAreBounded(t *testing.T) {
	t.Parallel()
	whole := func() Backup {
		return Backup{SHA256: strings.Repeat("0f", 32), Contents: storage.Contents{
			Database: strings.Repeat("ä", 63), Schema: "s", ServerVersion: "17.2 (Debian 17.2-1)", Encoding: "UTF8",
			Collate: strings.Repeat("C", 80), CharType: "en_AU.UTF-8", Rows: map[string]int64{"t": 1},
		}}
	}
	if err := whole().validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(b *Backup){
		"a long database": func(b *Backup) { b.Database += "ä" },
		"no database":     func(b *Backup) { b.Database = "" },
		"a line break":    func(b *Backup) { b.Schema = "a\nb" },
		"a long locale":   func(b *Backup) { b.Collate += "C" },
		"a long version":  func(b *Backup) { b.ServerVersion = strings.Repeat("1", 3) + strings.Repeat(".", 101) },
		"a short hash":    func(b *Backup) { b.SHA256 = b.SHA256[1:] },
		"an odd table":    func(b *Backup) { b.Rows = map[string]int64{"\x1b[2J": 1} },
	} {
		b := whole()
		change(&b)
		if err := b.validate(); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// Whatever libpq's variables hold, an empty verify_url is no mistake.
func TestAnEmptyVerifyURLIsValid(t *testing.T) {
	t.Setenv("PGPORT", "none")
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}
