package textreport

import (
	"bufio"
	"io"
	"regexp"
)

// ListedFile is an attachment as a text report lists it.
type ListedFile struct {
	Tip    string
	Name   string // of its file; nobody has checked it
	SHA256 string
}

var (
	readTip  = regexp.MustCompile(`^Tip: +([A-Za-z0-9_-]{1,64})$`)
	readFile = regexp.MustCompile(`^ [0-9]{3,}  (.*?[^ ]) {2,}[0-9,]+  [a-z]`)
	readHash = regexp.MustCompile(`^ {6}SHA-256 ([0-9a-f]{64})$`)
	readKey  = regexp.MustCompile(`^ {6}tip     ([A-Za-z0-9_-]{1,64})$`)
)

// ReadFiles reads from a text report the tip of its record ("" when it is none of noggin's) and
// the files that it lists with their hashes.
func ReadFiles(r io.Reader) (tip string, listed []ListedFile) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	var file ListedFile
	for lines.Scan() {
		line := lines.Text()
		if m := readFile.FindStringSubmatch(line); m != nil {
			file = ListedFile{Name: m[1]}
		} else if m := readHash.FindStringSubmatch(line); m != nil {
			file.SHA256 = m[1]
		} else if m := readKey.FindStringSubmatch(line); m != nil && file.Name != "" && file.SHA256 != "" {
			file.Tip = m[1]
			listed, file = append(listed, file), ListedFile{}
		} else if m := readTip.FindStringSubmatch(line); m != nil {
			tip = m[1]
		}
	}
	return tip, listed
}
