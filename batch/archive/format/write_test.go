package format

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"noggin/batch/files"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// fileOf is the nth file of an archive.
func fileOf(n int, content string) File {
	sum := sha256.Sum256([]byte(content))
	return File{
		Path: fmt.Sprintf("2024/03/x/%d.jpg", n), Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:]),
		Tip: strings.Repeat("ab", 32), InspectionDate: "2024-03-05", AttachmentTip: strconv.Itoa(n),
	}
}

// begun is a writer of an archive in a new folder.
func begun(t testing.TB) (w *Writer, final string) {
	t.Helper()
	final = filepath.Join(t.TempDir(), Name("2024-03", 1))
	w, err := NewWriter(final)
	must(t, err)
	return w, final
}

func TestASourceThatIsNotAsKnownIsCutOff(t *testing.T) {
	t.Parallel()
	const content = "a photograph"
	w, final := begun(t)
	for name, source := range map[string]io.Reader{
		"shorter":    strings.NewReader(content[1:]),
		"longer":     strings.NewReader(content + "."),
		"another":    strings.NewReader(strings.ToUpper(content)),
		"unreadable": io.MultiReader(strings.NewReader(content[:5]), iotest.ErrReader(unix.EIO)),
	} {
		w.Begin()
		must(t, w.Add(fileOf(1, "first"), time.Now(), strings.NewReader("first")))
		if err := w.Add(fileOf(2, content), time.Now(), source); !errors.Is(err, files.ErrDiffers) {
			t.Errorf("%s: %v", name, err)
		}
		must(t, w.Cut())
	}
	w.Begin()
	must(t, w.Add(fileOf(2, content), time.Now(), strings.NewReader(content)), w.End(), w.Finish(time.Now()))
	if found, err := Verify(t.Context(), final, nil); err != nil || found.Records != 1 || found.Files != 1 || found.LastDate != "2024-03-05" || found.SizeBytes != w.Contents.SizeBytes || w.Contents.Records != 1 || w.Contents.Files != 1 {
		t.Errorf("%+v, %v, want %+v", found, err, w.Contents)
	}
}

func TestAnArchiveIsOnDiskBeforeItGetsItsName(t *testing.T) {
	t.Parallel()
	w, final := begun(t)
	w.Begin()
	must(t, w.Add(fileOf(1, "first"), time.Now(), strings.NewReader("first")), w.End())
	var flushed []string
	stop := files.WatchFlushes(filepath.Dir(final), func(point, _ string) {
		_, err := os.Lstat(final)
		flushed = append(flushed, fmt.Sprintf("%s, named: %t", point, err == nil))
	})
	defer stop()
	must(t, w.Finish(time.Now()))
	if want := []string{"partial file, named: false", "final name, named: true"}; !slices.Equal(flushed, want) {
		t.Errorf("%q, want %q", flushed, want)
	}
	// Another file that took the name meanwhile stays.
	w, final = begun(t)
	w.Begin()
	must(t, w.Add(fileOf(1, "first"), time.Now(), strings.NewReader("first")), w.End(), os.WriteFile(final, []byte("other"), 0o600))
	err := w.Finish(time.Now())
	if other, readErr := os.ReadFile(final); !errors.Is(err, fs.ErrExist) || string(other) != "other" {
		t.Errorf("%v, the other file has %q, %v", err, other, readErr)
	}
	must(t, w.Discard())
}

// member is a file in the tar of an archive.
type member struct {
	kind       byte
	name, body string
}

// writeMembers writes an archive with its own locator, whose manifest is the member that
// ends in ManifestExt.
func writeMembers(t testing.TB, at string, members []member) {
	t.Helper()
	var out bytes.Buffer
	var manifest int64
	frame := func(write func(w *tar.Writer) error) {
		z, err := zstd.NewWriter(&out)
		must(t, err)
		must(t, write(tar.NewWriter(z)), z.Close())
	}
	for _, m := range members {
		if strings.HasSuffix(m.name, ManifestExt) {
			manifest = int64(out.Len())
		}
		frame(func(w *tar.Writer) error {
			if err := w.WriteHeader(&tar.Header{Typeflag: m.kind, Name: m.name, Size: int64(len(m.body)), Mode: 0o644}); err != nil {
				return err
			}
			_, err := io.WriteString(w, m.body)
			return errors.Join(err, w.Flush())
		})
	}
	frame((*tar.Writer).Close)
	out.Write(locator(manifest))
	must(t, os.WriteFile(at, out.Bytes(), 0o600))
}

// Whoever writes an archive by hand, or another version of noggin, may leave out or add
// anything.
func TestAnArchiveHoldsWhatItListsAndNothingElse(t *testing.T) {
	t.Parallel()
	w, final := begun(t)
	w.Begin()
	must(t, w.Add(fileOf(1, "first"), time.Now(), strings.NewReader("first")), w.Add(fileOf(2, "second"), time.Now(), strings.NewReader("second")))
	must(t, w.End(), w.Finish(time.Now()))
	r, err := Open(final)
	must(t, err)
	defer r.Close()
	content, err := Decompress(r.Section(0))
	must(t, err)
	defer content.Close()
	var whole []member // two files, the manifest, the checksums
	for read := tar.NewReader(content); ; {
		header, err := read.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		body, err := io.ReadAll(read)
		must(t, err)
		whole = append(whole, member{header.Typeflag, header.Name, string(body)})
	}
	for name, test := range map[string]struct {
		change func(m []member) []member
		want   string // of the error; "": none
	}{
		"nothing is changed":              {func(m []member) []member { return m }, ""},
		"no checksums":                    {func(m []member) []member { return m[:3] }, "its list of checksums"},
		"another name of the checksums":   {func(m []member) []member { m[3].name += "x"; return m }, "its list of checksums"},
		"other checksums":                 {func(m []member) []member { m[3].body = strings.ToUpper(m[3].body); return m }, "does not match its files"},
		"another spacing of the manifest": {func(m []member) []member { m[2].body = strings.ReplaceAll(m[2].body, "}\n", "} \n"); return m }, "does not match its files"},
		"something behind":                {func(m []member) []member { return append(m, member{tar.TypeReg, "x", ""}) }, "its end"},
		"something before the manifest":   {func(m []member) []member { return slices.Insert(m, 2, member{tar.TypeReg, "x", ""}) }, "its manifest is missing"},
		"a file is missing":               {func(m []member) []member { return m[1:] }, "it holds"},
		"another name":                    {func(m []member) []member { m[0].name += "x"; return m }, "it holds"},
		"another kind":                    {func(m []member) []member { m[0].kind = tar.TypeCont; return m }, "it holds"},
		"another size":                    {func(m []member) []member { m[0].body += "."; return m }, "it holds"},
		"another content":                 {func(m []member) []member { m[0].body = "other"; return m }, "has SHA-256"},
	} {
		at := filepath.Join(t.TempDir(), filepath.Base(final))
		writeMembers(t, at, test.change(slices.Clone(whole)))
		_, err := Verify(t.Context(), at, nil)
		if test.want == "" && err != nil || test.want != "" && (!errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
