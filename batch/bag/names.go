package bag

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

const (
	declaration  = "bagit.txt"
	infoFile     = "bag-info.txt"
	manifestFile = "manifest-sha256.txt"
	tagManifest  = "tagmanifest-sha256.txt"
	payload      = "data/"
)

// percent escapes what would end a line of a manifest.
var percent = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")

var (
	unpercent = strings.NewReplacer("%25", "%", "%0D", "\r", "%0d", "\r", "%0A", "\n", "%0a", "\n")
	// Before version 1.0 of the format, a percent sign was not escaped.
	unpercentOld = strings.NewReplacer("%0D", "\r", "%0d", "\r", "%0A", "\n", "%0a", "\n")
)

// line is a file's line of a manifest.
func line(name, sum string) string { return sum + "  " + percent.Replace(name) + "\n" }

// parseLine reads a line of a manifest whose checksums have digits hexadecimal digits.
func parseLine(text string, digits int, old bool) (name, sum string, err error) {
	end := max(0, strings.IndexAny(text, " \t"))
	if sum, name = text[:end], text[end:]; len(sum) != digits || strings.Trim(sum, "0123456789abcdefABCDEF") != "" {
		return "", "", fmt.Errorf("want a checksum of %d digits, blanks and a name", digits)
	}
	name = strings.TrimPrefix(strings.TrimLeft(name, " \t"), "*") // md5sum marks a binary file
	if old {
		name = unpercentOld.Replace(name)
	} else {
		name = unpercent.Replace(name)
	}
	if err := validName(name); err != nil {
		return "", "", err
	}
	return name, strings.ToLower(sum), nil
}

var errName = errors.New("the name leaves the bag, or means something else on another system")

// validName refuses names that lead out of the bag.
func validName(name string) error {
	if !fs.ValidPath(name) || strings.HasPrefix(name, "~") || strings.ContainsAny(name, "\\\x00") || len(name) > 1 && name[1] == ':' {
		return fmt.Errorf("%q: %w", name, errName)
	}
	return nil
}
