package maintain

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"noggin/batch/files"
)

// writeManifest writes or replaces the manifest, whole or not at all.
func (b Backup) writeManifest() error {
	doc, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	return files.WriteReplacing(b.Path()+manifestSuffix, backupMode, func(w io.Writer) error {
		_, err := w.Write(append(doc, '\n'))
		return err
	})
}

// readBackup reads the manifest of the backup at path. Others may have written it.
func readBackup(path string) (Backup, error) {
	name := filepath.Base(path) + manifestSuffix
	f, _, err := files.OpenRegular(path+manifestSuffix, unix.O_NOFOLLOW)
	if errors.Is(err, files.ErrMissing) {
		return Backup{}, fmt.Errorf("%s cannot be checked: its manifest %s is missing", path, name)
	}
	if err != nil {
		return Backup{}, err
	}
	defer files.Release(f)
	var b Backup
	if err := json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&b); err != nil {
		return Backup{}, fmt.Errorf("read the manifest of %s: %w", path, err)
	}
	if err := b.validate(); err != nil {
		return Backup{}, fmt.Errorf("the manifest %s is none of noggin's: %w", name, err)
	}
	b.File, b.dir = filepath.Base(path), filepath.Dir(path)
	return b, nil
}

// plain is what a field of a manifest looks like, and how many characters it has at most.
// A repetition in the expression would take a millisecond of every command's start.
type plain struct {
	form *regexp.Regexp
	most int
}

func (p plain) fits(value string) bool {
	return utf8.RuneCountInString(value) <= p.most && p.form.MatchString(value)
}

// The fields are printed as commands and words of SQL.
var (
	plainName   = plain{regexp.MustCompile(`^[^\pC]+$`), 63}
	plainWord   = plain{regexp.MustCompile(`^[A-Za-z0-9_.@, -]+$`), 80}
	plainNumber = plain{regexp.MustCompile(`^[0-9]{1,3}[0-9A-Za-z. ()+:~-]*$`), 100}
	hexSHA256   = plain{regexp.MustCompile(`^[0-9a-f]{64}$`), 64}
)

// validate reports the first field with a value that noggin does not write.
func (b Backup) validate() error {
	for _, field := range []struct {
		name, value string
		form        plain
	}{
		{"database", b.Database, plainName},
		{"schema", b.Schema, plainName},
		{"server_version", b.ServerVersion, plainNumber},
		{"encoding", b.Encoding, plainWord},
		{"lc_collate", b.Collate, plainWord},
		{"lc_ctype", b.CharType, plainWord},
		{"sha256", b.SHA256, hexSHA256},
	} {
		if !field.form.fits(field.value) {
			return fmt.Errorf("%s is %.100q", field.name, field.value)
		}
	}
	for table := range b.Rows {
		if !plainName.fits(table) {
			return fmt.Errorf("rows has a table %.100q", table)
		}
	}
	return nil
}
