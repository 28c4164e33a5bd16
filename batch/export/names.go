package export

import (
	"fmt"
	"path"
	"strings"

	"noggin/batch/forms"
)

// mostName is the longest part of a name that comes from the platform, in bytes.
const mostName = 48

// plainName makes a name of small and large ASCII letters, digits, dots, dashes and
// underscores, which means the same on every system and in every list of checksums.
func plainName(s, fallback string) string {
	var b strings.Builder
	for _, r := range forms.Component(s, fallback) {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._-", r):
			b.WriteRune(r)
		default:
			b.WriteByte('-')
		}
	}
	name := strings.Trim(forms.FirstOf(strings.Trim(b.String(), ".-"), mostName), ".-")
	if name == "" && s != fallback {
		return plainName(fallback, fallback)
	}
	if name == "" {
		return "file"
	}
	return forms.Component(name, "file") // a name of a device of Windows gets its underscore again
}

// folderName is the folder of the nth record of an export.
func folderName(n int, day, id, tip string) string {
	month := "undated"
	if len(day) == len("2006-01-02") {
		month = day[:7]
		return fmt.Sprintf("data/%s/%06d_%s_%s", month, n, day, plainName(id, forms.FirstOf(tip, 12)))
	}
	return fmt.Sprintf("data/%s/%06d_%s", month, n, plainName(id, forms.FirstOf(tip, 12)))
}

// passive are the extensions of files that a browser or a system shows and does not run.
const passive = " jpg png gif webp tif bmp avif heic cr3 mov m4a 3gp mp4 wav avi webm mkv pdf docx xlsx pptx odt ods doc xls ppt mp3 rtf txt csv json zip "

// shown are those that a browser opens by itself.
const shown = " jpg png gif webp bmp avif mov mp4 webm mp3 wav pdf txt "

// isShown tells whether a link to the file opens it; other files are saved.
func isShown(name string) bool {
	return strings.Contains(shown, " "+strings.TrimPrefix(path.Ext(name), ".")+" ")
}

// fileNames gives the files of one record their names in its folder.
type fileNames map[string]bool

// of is the name of a file that is called like this in the mirror. A file that a browser
// or a system would run gets an extension with which it is only read.
func (n fileNames) of(original string) string {
	ext := strings.ToLower(strings.TrimPrefix(path.Ext(original), "."))
	base := plainName(strings.TrimSuffix(path.Base(original), path.Ext(original)), "file")
	switch {
	case ext == "":
		ext = "bin"
	case !strings.Contains(passive, " "+ext+" "):
		ext = plainName(ext, "x") + ".bin"
	}
	for i := 1; ; i++ {
		name := base + "." + ext
		if i > 1 {
			name = fmt.Sprintf("%s-%d.%s", base, i, ext)
		}
		if key := strings.ToLower(name); !n[key] {
			n[key] = true
			return name
		}
	}
}
