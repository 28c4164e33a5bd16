package forms

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
)

var (
	formerReport = regexp.MustCompile(`^(.*)\.v([0-9]+)(?:-[0-9]+)?\.txt$`)
	// beside is what the stem of a file has that stands beside another of its attachment.
	beside     = regexp.MustCompile(`-(v[0-9]+|suspect)(?:-[A-Za-z0-9_]{1,8})?$`)
	fileNumber = regexp.MustCompile(`_([0-9]{3,})$`)
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
	ext := path.Ext(name)
	return strings.TrimSuffix(name, ext) + "-" + mark + ext
}

// NameParts are the stem that all files of an attachment share, the number in it (0: none),
// and the mark of [BesideName].
func NameParts(name string) (stem string, number int, mark string) {
	stem = strings.TrimSuffix(name, path.Ext(name))
	if m := beside.FindStringSubmatch(stem); m != nil {
		stem, mark = strings.TrimSuffix(stem, m[0]), m[1]
	}
	if m := fileNumber.FindStringSubmatch(stem); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n < 1<<30 {
			number = n
		}
	}
	return stem, number, mark
}
