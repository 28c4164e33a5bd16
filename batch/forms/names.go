package forms

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxComponent is the longest component in bytes that Component makes. A name with day,
// stub and number around it stays well under the 255 bytes that file systems allow.
const maxComponent = 100

// UnknownDate stands in names in place of the day of a record that has none.
const UnknownDate = "unknown-date"

// RecordName names a record in file names: its inspection id made safe, or the first 12
// characters of its tip where that leaves nothing.
func RecordName(inspectionID, tip string) string {
	return Component(inspectionID, FirstOf(tip, 12))
}

// FolderName is the folder of a record below the output folder:
// {YYYY}/{MM}/{YYYY-MM-DD} {id}, or unknown-date/{id}. The day is YYYY-MM-DD or empty.
func FolderName(day, inspectionID, tip string) string {
	name := RecordName(inspectionID, tip)
	if !isDay(day) {
		return UnknownDate + "/" + name
	}
	return day[:4] + "/" + day[5:7] + "/" + day + " " + name
}

// DistinctFolderName is the folder to take when another record has the folder of
// FolderName. It adds the first 8 characters of the tip, from attempt 2 on the whole tip.
func DistinctFolderName(folder, tip string, attempt int) string {
	if attempt < 2 {
		tip = FirstOf(tip, 8)
	}
	return folder + " " + strings.Map(func(r rune) rune {
		if isTipRune(r) {
			return r
		}
		return '_'
	}, FirstOf(tip, MaxTip))
}

// FolderParts returns the name and the day of the record for which FolderName or
// DistinctFolderName made the folder. Files in it keep them, whatever the record says
// later.
func FolderParts(folder, tip string) (name, day string) {
	name = folder[strings.LastIndexByte(folder, '/')+1:]
	const dayLength = len(time.DateOnly)
	if len(name) > dayLength && isDay(name[:dayLength]) && !strings.HasPrefix(folder, UnknownDate+"/") {
		name, day = name[dayLength+1:], name[:dayLength]
	}
	for attempt := range 2 {
		if suffix := DistinctFolderName("", tip, attempt+1); len(suffix) < len(name) {
			name = strings.TrimSuffix(name, suffix)
		}
	}
	return name, day
}

// AttachmentName is the file name of an attachment, {name}_{YYYYMMDD}_{stub}_{NNN}.{ext}.
// name is the record's [RecordName]. "unknown-date" stands for a missing day, "bin" for a
// missing extension.
func AttachmentName(name, day, stub string, sequence int, ext string) string {
	digits := UnknownDate
	if isDay(day) {
		digits = strings.ReplaceAll(day, "-", "")
	}
	if !stubForm.MatchString(stub) {
		stub = stubOf(stub)
	}
	ext = strings.ToLower(strings.TrimPrefix(ext, "."))
	if !extensionForm.MatchString(ext) {
		ext = "bin"
	}
	return fmt.Sprintf("%s_%s_%s_%03d.%s", Component(name, ""), digits, stub, sequence, ext)
}

// AttachmentNameIn is the AttachmentName in the folder of the record with this tip. The
// folder decides the name and the day in it, so that an edit of the record changes no names.
func AttachmentNameIn(folder, tip, stub string, sequence int, ext string) string {
	name, day := FolderParts(folder, tip)
	return AttachmentName(name, day, stub, sequence, ext)
}

// NamedIn tells whether a name begins as those of all attachments in the folder of the record
// with this tip.
func NamedIn(folder, tip, name string) bool {
	first := AttachmentNameIn(folder, tip, "x", 1, "")
	return strings.HasPrefix(name, strings.TrimSuffix(first, "x_001.bin"))
}

// TipSuffix is what is added to the file name of an attachment when another file has it.
func TipSuffix(tip string) string { return Component(tip[:min(8, len(tip))], "x") }

// ReportName is the file name of a record's text report. name is the record's
// [RecordName].
func ReportName(name string) string { return Component(name, "") + "_inspection_data.txt" }

var (
	extensionForm = regexp.MustCompile(`^[a-z0-9]{1,8}$`)
	// reservedForm matches the names of devices on Windows, with any extension.
	reservedForm = regexp.MustCompile(`(?i)^(con|prn|aux|nul|com[0-9]|lpt[0-9]) *(\.|$)`)
	dashes       = regexp.MustCompile(` *-[- ]*`)
	dots         = regexp.MustCompile(`\.{2,}`)
	spaces       = regexp.MustCompile(` {2,}`)
)

// Component makes one safe path component of at most 100 bytes from any text. Letters,
// digits, `-_.()` and single spaces stay. Anything else becomes a dash, also path
// separators, control and invisible characters: `LCD - 045289` becomes `LCD-045289`.
// Where nothing is left, the result is the fallback, made safe too, or "unknown". It is
// never empty, "." or "..". A second call leaves a result unchanged.
func Component(s, fallback string) string {
	for _, candidate := range []string{s, fallback} {
		if c := component(candidate); c != "" {
			return c
		}
	}
	return "unknown"
}

func component(s string) string {
	s = FirstOf(s, 16*maxComponent) // Bounds the work on a hostile text.
	s = strings.Map(componentRune, norm.NFC.String(strings.ToValidUTF8(s, "-")))
	s = dashes.ReplaceAllString(s, "-")
	s = dots.ReplaceAllString(s, ".")
	s = spaces.ReplaceAllString(s, " ")
	s = trimComponent(s)
	if reservedForm.MatchString(s) {
		s = "_" + s
	}
	return trimComponent(FirstOf(s, maxComponent))
}

// trimComponent removes what must not begin or end a name: dots hide a file, dashes look
// like a flag, spaces get lost.
func trimComponent(s string) string {
	s = strings.TrimLeftFunc(s, func(r rune) bool { return strings.ContainsRune(".- ", r) || unicode.IsMark(r) })
	return strings.TrimRight(s, ".- ")
}

func componentRune(r rune) rune {
	switch {
	case strings.ContainsRune("-_.()", r):
		return r
	case unicode.IsSpace(r):
		return ' '
	case unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r), unicode.Is(unicode.Variation_Selector, r):
		return '-' // These are invisible, though Unicode calls them letters or marks.
	case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r):
		return r
	}
	return '-'
}

// FirstOf is the beginning of a text, at most n bytes, cut between characters.
func FirstOf(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// stubOf makes the stub of a field that the form does not list: load_photo of
// loadPhotoAttachment, photo5 of attachments5.
func stubOf(field string) string {
	stub := snakeCase(field)
	if rest, ok := strings.CutPrefix(stub, "attachments"); ok {
		stub = "photo" + rest
	}
	stub = strings.TrimSuffix(strings.TrimSuffix(stub, "_attachments"), "_attachment")
	stub = strings.Trim(FirstOf(stub, 32), "_")
	if stub == "" {
		return "photo"
	}
	return stub
}

// snakeCase writes a camelCase name in small ASCII letters and digits, with underscores
// between the words.
func snakeCase(name string) string {
	var b strings.Builder
	lower := false // the last rune is a small letter or a digit
	for _, r := range name {
		upper := r >= 'A' && r <= 'Z'
		word := upper || r >= 'a' && r <= 'z' || r >= '0' && r <= '9'
		if (upper && lower || !word) && b.Len() > 0 && !strings.HasSuffix(b.String(), "_") {
			b.WriteByte('_')
		}
		if word {
			b.WriteRune(unicode.ToLower(r))
		}
		lower = word && !upper
	}
	return strings.Trim(b.String(), "_")
}
