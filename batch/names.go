package batch

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxComponent is the longest component in bytes that Component makes. With
// the day, the stub and the number around it a name stays well under the 255
// bytes that file systems allow.
const maxComponent = 100

// unknownDate stands for the day in the names of records without one.
const unknownDate = "unknown-date"

// RecordName is what a record is called in file names: its inspection id made
// safe, or the first 12 digits of its tip when it has no usable one.
func RecordName(inspectionID, tip string) string {
	return Component(inspectionID, firstOf(tip, 12))
}

// FolderName is the folder of a record relative to the output folder, with
// slashes: {YYYY}/{MM}/{YYYY-MM-DD} {id}, or unknown-date/{id}. The day is
// YYYY-MM-DD or empty.
func FolderName(day, inspectionID, tip string) string {
	name := RecordName(inspectionID, tip)
	if !isDay(day) {
		return unknownDate + "/" + name
	}
	return day[:4] + "/" + day[5:7] + "/" + day + " " + name
}

// DistinctFolderName is the folder to take when FolderName's is another
// record's: with the first 8 digits of the tip added, and, should that one be
// taken too (attempt 2 and later), with the whole tip.
func DistinctFolderName(folder, tip string, attempt int) string {
	if attempt < 2 {
		tip = firstOf(tip, 8)
	}
	return folder + " " + strings.Map(func(r rune) rune {
		if isTipRune(r) {
			return r
		}
		return '_'
	}, firstOf(tip, maxTip))
}

// AttachmentName is the file name of an attachment,
// {name}_{YYYYMMDD}_{stub}_{NNN}.{ext}, where name is the record's
// [RecordName]. Without a day "unknown-date" stands in its place, without an
// extension "bin".
func AttachmentName(name, day, stub string, sequence int, ext string) string {
	digits := unknownDate
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

// ReportName is the file name of a record's text report, where name is the
// record's [RecordName].
func ReportName(name string) string { return Component(name, "") + "_inspection_data.txt" }

var (
	extensionForm = regexp.MustCompile(`^[a-z0-9]{1,8}$`)
	// reservedForm matches the names that Windows keeps for devices, with any
	// extension.
	reservedForm = regexp.MustCompile(`(?i)^(con|prn|aux|nul|com[0-9]|lpt[0-9]) *(\.|$)`)
	dashes       = regexp.MustCompile(` *-[- ]*`)
	dots         = regexp.MustCompile(`\.{2,}`)
	spaces       = regexp.MustCompile(` {2,}`)
)

// Component makes one safe path component of a text from outside, at most 100
// bytes of it. Letters, digits, `-_.()` and single spaces stay; anything else,
// path separators, control and invisible characters among it, becomes a dash.
// `LCD - 045289` is `LCD-045289`. A text that leaves nothing gives the
// fallback, made safe in the same way, or "unknown". The result is never
// empty, "." or "..", and Component leaves it as it is.
func Component(s, fallback string) string {
	for _, candidate := range []string{s, fallback} {
		if c := component(candidate); c != "" {
			return c
		}
	}
	return "unknown"
}

func component(s string) string {
	s = firstOf(s, 16*maxComponent) // bounds the work on a hostile text
	s = strings.Map(componentRune, norm.NFC.String(strings.ToValidUTF8(s, "-")))
	s = dashes.ReplaceAllString(s, "-")
	s = dots.ReplaceAllString(s, ".")
	s = spaces.ReplaceAllString(s, " ")
	s = trimComponent(s)
	if reservedForm.MatchString(s) {
		s = "_" + s
	}
	return trimComponent(firstOf(s, maxComponent))
}

// trimComponent takes off what must not begin or end a name: dots hide it,
// dashes look like a flag, blanks are lost.
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
		return '-' // letters and marks by category, but invisible
	case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r):
		return r
	}
	return '-'
}

// firstOf is the text's first n bytes at most, cut between characters.
func firstOf(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// stubOf makes a stub of a field's name that the form does not list:
// loadPhotoAttachment is load_photo, attachments5 is photo5.
func stubOf(field string) string {
	stub := snakeCase(field)
	if rest, ok := strings.CutPrefix(stub, "attachments"); ok {
		stub = "photo" + rest
	}
	stub = strings.TrimSuffix(strings.TrimSuffix(stub, "_attachments"), "_attachment")
	stub = strings.Trim(firstOf(stub, 32), "_")
	if stub == "" {
		return "photo"
	}
	return stub
}

// snakeCase writes a camelCase name in small ASCII letters and digits with
// underscores between the words.
func snakeCase(name string) string {
	var b strings.Builder
	lower := false // the rune before was a small letter or a digit
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
