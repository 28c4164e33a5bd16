package forms

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const someTip = "15805eb5323b95a4f8e0109d6794ea1fb5b7ddb84b47130c77caecddc69be6e8"

func TestComponentMakesNamesSafe(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"LCD - 045289", "LCD-045289"},
		{"FL - Inspection - 00515", "FL-Inspection-00515"},
		{"  C - 003825\n", "C-003825"},
		{"Prüfung №5 (neu)", "Prüfung-5 (neu)"},
		{"検査 12", "検査 12"},
		{"Cafe\u0301", "Café"},
		{"../../etc/passwd", "etc-passwd"},
		{`..\..\windows\system32`, "windows-system32"},
		{"a/b:c*d?e", "a-b-c-d-e"},
		{"LCD\x00045289", "LCD-045289"},
		{"LCD\u202e982540", "LCD-982540"},
		{"\x1b[31mred", "31mred"},
		{".hidden", "hidden"},
		{"-rf", "rf"},
		{"name. . .", "name"},
		{"a..b", "a.b"},
		{"NUL", "_NUL"},
		{"com1.txt", "_com1.txt"},
		{"Console", "Console"},
		{"LCD\n045289", "LCD 045289"},
		{"\u3164\u115f", "fallback"},
		{"a\xff\xfeb", "a-b"},
		{"\u0301x", "x"},
		{"", "fallback"},
		{".", "fallback"},
		{"..", "fallback"},
		{"///", "fallback"},
		{strings.Repeat("x", 300), strings.Repeat("x", 100)},
		{"x" + strings.Repeat("é", 300), "x" + strings.Repeat("é", 49)},
	} {
		if got := Component(c.in, "fallback"); got != c.want {
			t.Errorf("Component(%q) = %q, want %q", c.in, got, c.want)
		}
	}
	if got := Component("", "--"); got != "unknown" {
		t.Errorf("without anything: %q", got)
	}
}

func TestNamesOfFoldersAndFiles(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{FolderName("2025-09-17", "LCD - 045289", someTip), "2025/09/2025-09-17 LCD-045289"},
		{FolderName("", "LCD - 045289", someTip), "unknown-date/LCD-045289"},
		{FolderName("2025-13-45", "LCD - 045289", someTip), "unknown-date/LCD-045289"},
		{FolderName("2025-09-17", "", someTip), "2025/09/2025-09-17 15805eb5323b"},
		{FolderName("", "", "-"), "unknown-date/unknown"},
		{DistinctFolderName("unknown-date/x", someTip, 1), "unknown-date/x 15805eb5"},
		{DistinctFolderName("unknown-date/x", someTip, 2), "unknown-date/x " + someTip},
		{DistinctFolderName("x", "../../..", 1), "x ________"},
		{RecordName("FL - Inspection - 00515", someTip), "FL-Inspection-00515"},
		{AttachmentName("LCD-045289", "2025-09-17", "photo", 2, "jpg"), "LCD-045289_20250917_photo_002.jpg"},
		{AttachmentName("LCD-045289", "", "photo", 1000, ".JPG"), "LCD-045289_unknown-date_photo_1000.jpg"},
		{AttachmentName("LCD-045289", "", "../evil", 1, "j/../p"), "LCD-045289_unknown-date_evil_001.bin"},
		{ReportName("LCD-045289"), "LCD-045289_inspection_data.txt"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

// An edit of the record changes no name in its folder.
func TestTheFolderOfARecordKeepsItsNameAndDay(t *testing.T) {
	for _, id := range []string{"LCD - 045289", "2025-09-17", "", someTip[:8]} {
		for _, day := range []string{"2025-09-17", ""} {
			folder, want := FolderName(day, id, someTip), RecordName(id, someTip)
			for _, folder := range []string{folder, DistinctFolderName(folder, someTip, 1), DistinctFolderName(folder, someTip, 2)} {
				if name, was := FolderParts(folder, someTip); name != want || was != day {
					t.Errorf("%s is of %q on %q, want %q on %q", folder, name, was, want, day)
				}
				if got := AttachmentNameIn(folder, someTip, "photo", 7, "jpg"); got != AttachmentName(want, day, "photo", 7, "jpg") {
					t.Errorf("%s holds %s", folder, got)
				}
			}
		}
	}
}

func TestStubsOfFieldsThatNoFormLists(t *testing.T) {
	for field, want := range map[string]string{
		"attachments":                            "photo",
		"attachments5":                           "photo5",
		"loadPhotoAttachment":                    "load_photo",
		"damageAttachments":                      "damage",
		"isTheKingPinEngagedPT4":                 "is_the_king_pin_engaged_pt4",
		"Ünï../x":                                "n_x",
		"$%":                                     "photo",
		"contactBetweenTheSkidPlateTurntablePT1": "contact_between_the_skid_plate_t",
	} {
		if got := stubOf(field); got != want || !stubForm.MatchString(got) {
			t.Errorf("stubOf(%q) = %q, want %q", field, got, want)
		}
	}
}

func FuzzComponent(f *testing.F) {
	for _, s := range []string{"LCD - 045289", "../..", "NUL .txt", "a\u0301/\u202e", "\xff", "-\u0308-", "con." + strings.Repeat(" ", 200)} {
		f.Add(s, someTip)
	}
	f.Fuzz(func(t *testing.T, s, fallback string) {
		got := Component(s, fallback)
		switch {
		case got == "" || got == "." || got == "..", len(got) > maxComponent, !utf8.ValidString(got),
			!filepath.IsLocal(got), filepath.Base(got) != got, strings.ContainsAny(got, "/\\:*?\"<>|\x00"),
			strings.ContainsRune(".- ", rune(got[0])), strings.ContainsRune(". ", rune(got[len(got)-1])),
			reservedForm.MatchString(got), !norm.NFC.IsNormalString(got),
			strings.ContainsFunc(got, func(r rune) bool { return unicode.In(r, unicode.C, unicode.Zl, unicode.Zp) }):
			t.Errorf("Component(%q, %q) = %q", s, fallback, got)
		case Component(got, "") != got:
			t.Errorf("Component(%q) = %q, and of that %q", s, got, Component(got, ""))
		}
		name := AttachmentName(got, "2025-09-17", s, 7, fallback)
		if len(name) > 200 || filepath.Base(name) != name {
			t.Errorf("AttachmentName %q", name)
		}
		if folder := FolderName(s, fallback, s); !filepath.IsLocal(folder) {
			t.Errorf("FolderName %q", folder)
		}
	})
}
