package forms

import (
	"fmt"
	"iter"
	"path"
	"regexp"
	"strconv"
	"strings"
)

var (
	formerReport = regexp.MustCompile(`^(.*)\.v([0-9]+)(?:-[0-9]+)?\.txt$`)
	// attachmentFile is the name of an attachment's file without its extension: with a mark
	// where it stands beside another one, with "again" where it stands beside a damaged one,
	// with a suffix where another file had the name.
	attachmentFile = regexp.MustCompile(`^(.*?_([0-9]{3,}))(?:-(v[0-9]+|suspect))?(-again)?(?:-([A-Za-z0-9_]{1,8})(?:-[0-9]{1,2})?)?$`)
	numberedStem   = regexp.MustCompile(`_[0-9]{3,}$`)
)

// FormerReportName is the file name of the text report of a former version. n above 1 is
// for a name that another report has.
func FormerReportName(report string, version, n int) string {
	name := fmt.Sprintf("%s.v%d", strings.TrimSuffix(report, ".txt"), version)
	if n > 1 {
		name += fmt.Sprintf("-%d", n)
	}
	return name + ".txt"
}

// FormerReport undoes [FormerReportName]. version is 0 when name is none.
func FormerReport(name string) (report string, version int) {
	m := formerReport.FindStringSubmatch(name)
	if m == nil {
		return "", 0
	}
	if version, err := strconv.Atoi(m[2]); err == nil {
		return m[1] + ".txt", version
	}
	return "", 0
}

// BesideName is the name of other bytes of an attachment, which stand beside its file. mark
// is "suspect", or "v" and the version.
func BesideName(name, mark string) string {
	return Stem(name) + "-" + mark + path.Ext(name)
}

// AgainName is the name of an attachment's file whose bytes came again, as the file that
// has this name is damaged. The damaged file stays; the name tells what it is.
func AgainName(name string) string {
	parts := NameParts(name)
	if parts.Mark != "" {
		return BesideName(parts.Stem+path.Ext(name), parts.Mark+"-again")
	}
	return BesideName(parts.Stem+path.Ext(name), "again")
}

// WholeBeside returns which of the names [AgainName] gave to the whole file that stands
// beside a damaged one of this name; "" for none.
func WholeBeside(damaged string, names iter.Seq[string]) string {
	parts := NameParts(damaged)
	for name := range names {
		if !strings.HasPrefix(name, parts.Stem) {
			continue
		}
		if whole := NameParts(name); whole.Again && whole.Stem == parts.Stem && whole.Mark == parts.Mark {
			return name
		}
	}
	return ""
}

// FileParts are what the name of an attachment's file says.
type FileParts struct {
	Stem   string // that all files of the attachment share
	Number int    // in the stem; 0: none
	Mark   string // of [BesideName]
	Again  bool   // by [AgainName]
	Suffix string // the beginning of the attachment's tip, where another file had the name
}

// NameParts takes the name of an attachment's file apart.
func NameParts(name string) FileParts {
	stem := Stem(name)
	m := attachmentFile.FindStringSubmatch(stem)
	if m == nil {
		return FileParts{Stem: stem}
	}
	number, err := strconv.Atoi(m[2])
	if err != nil || number >= 1<<30 {
		number = 0
	}
	return FileParts{Stem: m[1], Number: number, Mark: m[3], Again: m[4] != "", Suffix: m[5]}
}

// Stem is a file name without its extension.
func Stem(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }

// ByStem returns the file of each tip by its stem, or nothing unless the numbered files
// match the stems one to one.
func ByStem(stems map[string]string, names []string) map[string]string {
	found := map[string]string{}
	for _, name := range names {
		stem := Stem(name)
		if !numberedStem.MatchString(stem) {
			continue
		}
		tip, planned := stems[stem]
		if _, twice := found[tip]; !planned || twice {
			return nil
		}
		found[tip] = name
	}
	if len(found) != len(stems) {
		return nil
	}
	return found
}
