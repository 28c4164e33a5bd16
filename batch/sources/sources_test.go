package sources

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"noggin/batch/batchtest"
	"noggin/batch/sources/sshdtest"
	"noggin/storage"
)

// site is a host with an input folder, and a server that it fetches from.
type site struct {
	*Fetcher
	t      testing.TB
	server *sshdtest.Server
	source Source
	sql    *sql.DB
}

func newSite(t testing.TB) *site {
	t.Helper()
	server := sshdtest.Start(t)
	cfg := storage.DefaultConfig()
	cfg.URL = batchtest.Database(t)
	db := batchtest.InitDatabase(t, cfg, "import-csv")
	pool, err := sql.Open("postgres", cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close() })
	source := Config{Sources: []Source{{Name: "outbox", URL: server.URL, KeyFile: server.Key, KnownHosts: server.KnownHosts}}}.WithDefaults()[0]
	return &site{
		t: t, server: server, sql: pool, source: source,
		Fetcher: &Fetcher{DB: db, Input: t.TempDir(), Log: slog.New(slog.DiscardHandler), Patience: 20 * time.Second},
	}
}

func (s *site) fetch() Result {
	s.t.Helper()
	r, err := s.Fetch(s.t.Context(), s.source)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// fetched fetches and wants so many files, and no error.
func (s *site) fetched(n int64) Result {
	s.t.Helper()
	r := s.fetch()
	if r.Err() != nil || r.Fetched != n {
		s.t.Errorf("%d files were fetched, want %d: %+v", r.Fetched, n, r)
	}
	return r
}

func (s *site) count(query string, args ...any) (n int) {
	s.t.Helper()
	if err := s.sql.QueryRow(query, args...).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// wantInput compares the names in the input folder, hidden ones included.
func (s *site) wantInput(want ...string) {
	s.t.Helper()
	entries, err := os.ReadDir(s.Input)
	if err != nil {
		s.t.Fatal(err)
	}
	got := []string{}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.t.Errorf("the input folder holds %q, want %q", got, want)
	}
}

func (s *site) wantServer(want ...string) {
	s.t.Helper()
	entries, err := os.ReadDir(s.server.Folder)
	if err != nil {
		s.t.Fatal(err)
	}
	got := []string{}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("the server has %q, want %q", got, want)
	}
}

func TestAnExportIsFetchedOnceWithItsTime(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.server.Put("week 1.CSV", "tip\n1\n")
	s.server.Put("notes.txt", "no export")
	s.server.Put(".upload.csv", "half")
	long := time.Date(2025, 9, 17, 6, 7, 8, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(s.server.Folder, "week 1.CSV"), long, long); err != nil {
		t.Fatal(err)
	}
	if r := s.fetched(1); r.Bytes != 6 || r.Listed != 1 {
		t.Errorf("%+v", r)
	}
	s.wantInput("week 1.CSV")
	text, err := os.ReadFile(filepath.Join(s.Input, "week 1.CSV"))
	info, statErr := os.Stat(filepath.Join(s.Input, "week 1.CSV"))
	if err := errors.Join(err, statErr); err != nil || string(text) != "tip\n1\n" || !info.ModTime().Equal(long) {
		t.Errorf("%q of %v: %v", text, info, err)
	}
	if n := s.count(`SELECT count(*) FROM noggin_schema.fetched_exports WHERE source = 'outbox' AND path = $1 AND size_bytes = 6 AND modified_at = $2
		AND kind = 'tips' AND sha256 = encode(sha256(convert_to('tip' || chr(10) || '1' || chr(10), 'UTF8')), 'hex') AND fetched_at IS NOT NULL AND imported_at IS NULL`,
		s.server.Folder+"/week 1.CSV", long); n != 1 {
		t.Errorf("%d rows tell of it", n)
	}
	if err := os.Remove(filepath.Join(s.Input, "week 1.CSV")); err != nil {
		t.Fatal(err)
	}
	s.fetched(0)
	// Another version under the same name is another export. Nothing is replaced.
	s.server.Put("week 1.CSV", "tip\n1\n2\n")
	s.fetched(1)
	s.server.Put("week 1.CSV", "tip\n1\n2\n3\n")
	s.fetched(1)
	s.server.Put("week 1.CSV", "tip\n4\n5\n6\n") // of the same size
	if err := os.Chtimes(filepath.Join(s.server.Folder, "week 1.CSV"), long, long); err != nil {
		t.Fatal(err)
	}
	s.fetched(1)
	s.wantInput("week 1-2.CSV", "week 1-3.CSV", "week 1.CSV")
}

func TestManyHostsFetchEachExportOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const exports = 40
	for i := range exports {
		s.server.Put(fmt.Sprintf("%02d.csv", i), fmt.Sprintf("tip\n%d\n", i))
	}
	hosts := make([]*Fetcher, 4)
	var sum int64
	var mu sync.Mutex
	var group sync.WaitGroup
	for i := range hosts {
		host := *s.Fetcher
		host.Input = t.TempDir()
		hosts[i] = &host
		group.Go(func() {
			for range 3 {
				r, err := host.Fetch(t.Context(), s.source)
				if err != nil || r.Err() != nil {
					t.Error(err, r.Err())
				}
				mu.Lock()
				sum += r.Fetched
				mu.Unlock()
			}
		})
	}
	group.Wait()
	files := 0
	for _, host := range hosts {
		entries, err := os.ReadDir(host.Input)
		if err != nil {
			t.Fatal(err)
		}
		files += len(entries)
	}
	if sum != exports || files != exports {
		t.Errorf("%d exports were fetched and %d files are there, want %d", sum, files, exports)
	}
}

func TestAServerThatIsNotTrustedGetsNoLogin(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.server.Put("tips.csv", "tip\n1\n")
	for name, test := range map[string]struct {
		prepare func()
		want    []string
	}{
		"unknown": {
			func() {
				if err := os.WriteFile(s.server.KnownHosts, []byte("# none\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			[]string{"is not in " + s.server.KnownHosts, "SHA256:"},
		},
		"changed":   {s.server.ChangeHostKey, []string{"has changed", s.server.Fingerprint(0), "(line 1)"}},
		"wrong key": {func() { s.server.Know(0); s.source.KeyFile = s.server.OtherKey }, []string{"does not accept the key " + s.server.OtherKey}},
	} {
		test.prepare()
		r := s.fetch()
		if !errors.Is(r.Err(), ErrRefused) {
			t.Errorf("%s: %v", name, r.Err())
		}
		for _, want := range test.want {
			if !strings.Contains(r.Reason, want) {
				t.Errorf("%s: %s; want %q", name, r.Reason, want)
			}
		}
		s.source.KeyFile = s.server.Key
	}
	s.wantInput()
}

func TestEitherKeyOfAServerIsEnough(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for key := range 2 {
		s.server.Know(key)
		s.server.Put(fmt.Sprintf("%d.csv", key), "tip\n1\n")
		s.fetched(1)
	}
}

func TestAKeyThatCannotBeUsedIsExplained(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	open := s.server.Key + " open"
	text, err := os.ReadFile(s.server.Key)
	if err := errors.Join(err, os.WriteFile(open, text, 0o600), os.Chmod(open, 0o644), os.WriteFile(s.server.Key+"-none", []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		open: "chmod o-rwx '" + open + "'", "outbox": "systemd credential outbox", s.server.Key + "-none": "no private key", "/none/key": "no such file",
	} {
		s.source.KeyFile = key
		if r := s.fetch(); !strings.Contains(r.Reason, want) {
			t.Errorf("%s: %s", key, r.Reason)
		}
	}
	if s.server.Connections() != 0 {
		t.Errorf("%d connections without a key", s.server.Connections())
	}
}

func TestACutTransferIsFetchedAgainAndAHungOneEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Patience = 2 * time.Second
	whole := "tip\n" + strings.Repeat(strings.Repeat("a", 63)+"\n", 20_000)
	s.server.Put("tips.csv", whole)
	for _, hang := range []bool{false, true} {
		s.server.Break(500_000, hang)
		began := time.Now()
		r := s.fetch()
		if !errors.Is(r.Err(), ErrUnreachable) || r.Fetched != 0 {
			t.Errorf("hang %t: %+v, %v", hang, r, r.Err())
		}
		if hang && !strings.Contains(r.Reason, "did not answer within 2s") || time.Since(began) > 15*time.Second {
			t.Errorf("hang %t: %s, after %s", hang, r.Reason, time.Since(began))
		}
		s.wantInput()
		if n := s.count(`SELECT count(*) FROM noggin_schema.fetched_exports`); n != 0 {
			t.Errorf("hang %t: %d rows tell of what was not fetched", hang, n)
		}
	}
	s.server.Break(0, false)
	s.fetched(1)
	if text, err := os.ReadFile(filepath.Join(s.Input, "tips.csv")); err != nil || string(text) != whole {
		t.Errorf("%d bytes of %d: %v", len(text), len(whole), err)
	}
}

func TestAServerThatSaysNothingOrIsGoneIsUnreachable(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Patience = 500 * time.Millisecond
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts by itself, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	s.source.URL = strings.Replace(s.source.URL, s.server.Address, silent.Addr().String(), 1)
	if r := s.fetch(); !errors.Is(r.Err(), ErrUnreachable) || !strings.Contains(r.Reason, "did not answer within 500ms") {
		t.Errorf("silent: %v", r.Err())
	}
	_ = silent.Close()
	if r := s.fetch(); !errors.Is(r.Err(), ErrUnreachable) || !strings.Contains(r.Reason, "refused") {
		t.Errorf("gone: %v", r.Err())
	}
}

func TestWhatVanishesOrChangesMeanwhileIsNoError(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, name := range []string{"1.csv", "2.csv", "3.csv"} {
		s.server.Put(name, "tip\n1\n")
	}
	// The files are listed in any order: the first one that is fetched decides.
	s.Progress = func(name string, n int64) {
		if n > 1 {
			return
		}
		others := slices.DeleteFunc([]string{"1.csv", "2.csv", "3.csv"}, func(other string) bool { return other == name })
		if err := os.Remove(filepath.Join(s.server.Folder, others[0])); err != nil {
			t.Error(err)
		}
		s.server.Put(others[1], "tip\n1\n2\n")
	}
	if r := s.fetch(); r.Err() != nil || r.Fetched != 1 || r.Gone != 1 || r.Changed != 1 {
		t.Errorf("%+v", r)
	}
	s.Progress = nil
	s.fetched(1)
}

// onWrite calls a function before each write.
type onWrite func()

func (w onWrite) Write(p []byte) (int, error) { w(); return len(p), nil }

func TestAFileThatIsWrittenAgainWhileItIsReadIsNotTaken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const listed, size = 1_700_000_000, 3 * maxChunk
	at := filepath.Join(s.server.Folder, "1.csv")
	put := func(modified int64, text string) {
		t.Helper()
		s.server.Put("1.csv", text)
		batchtest.Must(t, os.Chtimes(at, time.Unix(modified, 0), time.Unix(modified, 0)))
	}
	put(listed, strings.Repeat("a", size))
	c, err := connect(t.Context(), s.source, s.Patience)
	batchtest.Must(t, err)
	defer c.Close()
	file := storage.RemoteFile{Path: at, Size: size, Modified: time.Unix(listed, 0)}
	if err := c.read(onWrite(func() {}), file); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(){
		"other bytes": func() { put(listed+9, strings.Repeat("b", size)) },
		"fewer bytes": func() { put(listed, "a") },
	} {
		put(listed, strings.Repeat("a", size))
		if err := c.read(onWrite(change), file); !errors.Is(err, errChanged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestNamesLeadNowhereAndLinksAreNotFollowed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	secret := filepath.Join(t.TempDir(), "secret.csv")
	if err := errors.Join(os.WriteFile(secret, []byte("secret"), 0o600), os.Symlink(secret, filepath.Join(s.server.Folder, "link.csv")),
		os.Mkdir(filepath.Join(s.server.Folder, "folder.csv"), 0o755)); err != nil {
		t.Fatal(err)
	}
	s.source.Pattern = "*"
	s.server.Put("..evil", "tip\n1\n")
	s.server.Put("a\x1b[31m\n..\\b.txt", "tip\n2\n")
	s.server.Put("\xff.csv", "tip\n3\n")
	s.server.Put(strings.Repeat("n", 250)+".csv", "tip\n4\n")
	r := s.fetched(2)
	if r.Skipped != 3 {
		t.Errorf("%+v", r)
	}
	s.wantInput("a_[31m_.._b.txt.csv", strings.Repeat("n", 250)+".csv")
	for name, why := range map[string]string{"../x.csv": "leads out", "a/b.csv": "leads out", "..": "leads out", "x\x00.csv": "leads out"} {
		if got := unfit(entry{name: name, regular: true}); !strings.Contains(got, why) {
			t.Errorf("%q: %q", name, got)
		}
	}
	if why := unfit(entry{name: "a.csv", regular: true, size: maxSize + 1}); !strings.Contains(why, "larger") {
		t.Errorf("too large: %q", why)
	}
}

func TestADeletionWaitsForTheImportAndSparesWhatChanged(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.source.After = afterDelete
	for _, name := range []string{"a.csv", "b.csv", "c.csv", "d.csv"} {
		s.server.Put(name, "tip\n"+name+"\n")
	}
	r := s.fetched(4)
	clean := func() {
		t.Helper()
		if err := s.Clean(t.Context(), s.source, &r); err != nil || r.Err() != nil {
			t.Error(err, r.Err())
		}
	}
	clean()
	s.wantServer("a.csv", "b.csv", "c.csv", "d.csv")
	imported := func(kind string, names ...string) {
		for _, name := range names {
			var sum string
			err := s.sql.QueryRow(`SELECT sha256 FROM noggin_schema.fetched_exports WHERE path LIKE '%/' || $1`, name).Scan(&sum)
			if err := errors.Join(err, s.DB.ImportedContent(t.Context(), kind, sum)); err != nil {
				t.Fatal(err)
			}
		}
	}
	imported(KindAsset, "a.csv", "b.csv", "c.csv") // names are no tips
	clean()
	s.wantServer("a.csv", "b.csv", "c.csv", "d.csv")
	imported(KindTips, "a.csv", "b.csv", "c.csv")
	s.server.Put("b.csv", "tip\nb.csv\nmore\n")
	if err := os.Remove(filepath.Join(s.server.Folder, "c.csv")); err != nil {
		t.Fatal(err)
	}
	clean()
	if s.wantServer("b.csv", "d.csv"); r.Deleted != 1 {
		t.Errorf("%+v", r)
	}
	// The changed one is another export.
	s.fetched(1)
	imported(KindTips, "d.csv")
	connections := s.server.Connections()
	clean()
	clean()
	s.wantServer("b.csv")
	if n := s.server.Connections() - connections; n != 1 {
		t.Errorf("%d connections, want 1: nothing is left to be deleted after the first", n)
	}
}

func TestNamesGoIntoAFolderOfTheirKind(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.source.Kind = KindAsset
	s.server.Put("assets.csv", "nogginId,assetName\n")
	s.fetched(1)
	if _, err := os.Stat(filepath.Join(s.Input, "names-asset", "assets.csv")); err != nil {
		t.Error(err)
	}
}

func TestALinkInThePlaceOfAFolderOfNamesIsNotFollowed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.source.Kind = KindAsset
	elsewhere := t.TempDir()
	if err := os.Symlink(elsewhere, filepath.Join(s.Input, "names-asset")); err != nil {
		t.Fatal(err)
	}
	s.server.Put("assets.csv", "nogginId,assetName\n")
	if r := s.fetch(); r.Err() == nil || !strings.Contains(r.Reason, "symbolic link") {
		t.Errorf("%v", r.Err())
	}
	if entries, err := os.ReadDir(elsewhere); err != nil || len(entries) != 0 {
		t.Errorf("%v %v", entries, err)
	}
}

// Whoever may upload tips and makes the folder first would own it, and name vehicles.
func TestAFolderOfNamesThatSomebodyElseMadeIsRefused(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give folders away")
	}
	s := newSite(t)
	s.source.Kind = KindAsset
	folder := filepath.Join(s.Input, "names-asset")
	if err := errors.Join(os.Mkdir(folder, 0o777), os.Chown(folder, 4711, -1)); err != nil {
		t.Fatal(err)
	}
	s.server.Put("assets.csv", "nogginId,assetName\n")
	if r := s.fetch(); r.Err() == nil || !strings.Contains(r.Reason, "belongs to #4711") {
		t.Errorf("%v", r.Err())
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 0 {
		t.Errorf("%v %v", entries, err)
	}
	// The owner of the input folder may change everything in it anyway.
	if err := os.Chown(s.Input, 4711, -1); err != nil {
		t.Fatal(err)
	}
	s.fetched(1)
}

// Under umask 002 the group of the input folder, that of uploaders, would write names.
func TestAFolderOfNamesThatOthersMayWriteIntoIsRefused(t *testing.T) {
	before := unix.Umask(0o002)
	defer unix.Umask(before)
	s := newSite(t)
	s.source.Kind = KindAsset
	s.server.Put("assets.csv", "nogginId,assetName\n")
	s.fetched(1)
	folder := filepath.Join(s.Input, "names-asset")
	for _, name := range []string{folder, filepath.Join(folder, "assets.csv")} {
		if info, err := os.Stat(name); err != nil || info.Mode()&0o022 != 0 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
	s.server.Put("more.csv", "nogginId,assetName\n")
	for _, mode := range []os.FileMode{0o775, 0o775 | os.ModeSetgid, 0o757, 0o777 | os.ModeSticky} {
		if err := os.Chmod(folder, mode); err != nil {
			t.Fatal(err)
		}
		if r := s.fetch(); r.Err() == nil || !strings.Contains(r.Reason, "`sudo chmod go-w "+folder+"`") {
			t.Errorf("%v: %v", mode, r.Err())
		}
	}
	if out, err := exec.Command("chmod", "go-w", folder).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.fetched(1)
}

func TestAMissingInputFolderIsNotMade(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.server.Put("tips.csv", "tip\n1\n")
	s.Input = filepath.Join(s.Input, "mounted later")
	if r := s.fetch(); r.Err() == nil || !strings.Contains(r.Reason, "[paths] input") {
		t.Errorf("%v", r.Err())
	}
	if _, err := os.Stat(s.Input); err == nil || s.server.Connections() != 0 {
		t.Errorf("%v, %d connections", err, s.server.Connections())
	}
}

func TestAKilledFetchIsDoneAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.server.Put("tips.csv", "tip\n1\n")
	info, err := os.Stat(filepath.Join(s.server.Folder, "tips.csv"))
	if err != nil {
		t.Fatal(err)
	}
	// As a run leaves it that is killed in the middle.
	file := storage.RemoteFile{Path: s.server.Folder + "/tips.csv", Size: 6, Modified: info.ModTime()}
	if id, err := s.DB.BeginFetch(t.Context(), "outbox", KindTips, file); err != nil || id == 0 {
		t.Fatal(id, err)
	}
	s.fetched(1)
	if id, err := s.DB.BeginFetch(t.Context(), "outbox", KindTips, file); err != nil || id != 0 {
		t.Errorf("a fetched one is begun again: %d, %v", id, err)
	}
}

func TestASignalEndsAFetch(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.server.Put("tips.csv", "tip\n1\n")
	s.server.Break(4_000, true)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	time.AfterFunc(500*time.Millisecond, func() { cancel(stop) })
	if _, err := s.Fetch(ctx, s.source); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	s.wantInput()
}

func TestAFolderThatIsMissingIsNoFaultOfTheServer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.source.URL += "/missing"
	if r := s.fetch(); r.Err() == nil || errors.Is(r.Err(), ErrUnreachable) || !strings.Contains(r.Reason, "not exist") {
		t.Errorf("%v", r.Err())
	}
}

// What was listed until then would pass for all that the folder has.
func TestAListThatIsCutOrEndlessIsNoWholeFolder(t *testing.T) {
	t.Parallel()
	reply := func(kind byte, body ...byte) string {
		body = append([]byte{0, 0, 0, 1}, body...) // the id
		return string(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+1)), append([]byte{kind}, body...)...))
	}
	one := []byte("\x00\x00\x00\x01\x00\x00\x00\x05a.csv\x00\x00\x00\x00\x00\x00\x00\x00")
	end := reply(packetStatus, 0, 0, 0, statusEOF)
	for name, test := range map[string]struct {
		sent    string
		before  int // entries that were listed
		entries int
		want    error
	}{
		"one file":            {reply(packetName, one...) + end, 0, 1, io.EOF},
		"as many as allowed":  {reply(packetName, one...) + end, maxEntries - 2, 1, io.EOF},
		"too many":            {reply(packetName, one...) + end, maxEntries - 1, 0, ErrUnreachable},
		"empty answers":       {reply(packetName, 0, 0, 0, 0) + end, maxEntries, 0, ErrUnreachable},
		"fewer than promised": {reply(packetName, append([]byte{0, 0, 0, 2}, one[4:]...)...) + end, 0, 1, ErrUnreachable},
		"nothing":             {"", 0, 0, ErrUnreachable},
		"half of an answer":   {reply(packetName, one...)[:12], 0, 0, ErrUnreachable},
		"no answer in it":     {"\x00\x00\x00\x00" + end, 0, 0, ErrUnreachable},
		"an unasked answer":   {reply(packetHandle, one...) + end, 0, 0, ErrUnreachable},
		"no right":            {reply(packetStatus, 0, 0, 0, statusDenied), 0, 0, fs.ErrPermission},
	} {
		tcp, other := net.Pipe()
		l := &lister{c: &connection{tcp: tcp, patient: time.Minute, host: "host"}, in: io.Discard, out: strings.NewReader(test.sent), entries: test.before}
		var found int
		var err error
		for err == nil {
			var entries []entry
			entries, err = l.next()
			found += len(entries)
		}
		if !errors.Is(err, test.want) || errors.Is(err, io.EOF) != errors.Is(test.want, io.EOF) || found != test.entries {
			t.Errorf("%s: %d files, %v", name, found, err)
		}
		_, _ = tcp.Close(), other.Close()
	}
}

func TestAFolderOf100000FilesIsListedInLittleMemory(t *testing.T) {
	s := newSite(t)
	const exports = 100_000
	at := time.Unix(1_750_000_000, 0)
	name := func(i int) string { return fmt.Sprintf("an export with a long name, number %06d.csv", i) }
	for i := range exports { // names of a few files: that is quickly done
		first := i - i%10_000
		if i != first {
			if err := os.Link(filepath.Join(s.server.Folder, name(first)), filepath.Join(s.server.Folder, name(i))); err != nil {
				t.Fatal(err)
			}
			continue
		}
		s.server.Put(name(i), "")
		if err := os.Chtimes(filepath.Join(s.server.Folder, name(i)), at, at); err != nil {
			t.Fatal(err)
		}
	}
	// All but one were fetched before.
	if _, err := s.sql.Exec(`INSERT INTO noggin_schema.fetched_exports (source, path, size_bytes, modified_at, kind, host, fetched_at)
		SELECT 'outbox', $1 || '/an export with a long name, number ' || lpad(i::text, 6, '0') || '.csv', 0, $2, 'tips', 'host', now()
		FROM generate_series(0, $3::int - 2) AS i`, s.server.Folder, at, exports); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var most uint64
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				runtime.GC()
				runtime.ReadMemStats(&after)
				most = max(most, after.HeapAlloc)
			}
		}
	})
	r := s.fetched(1)
	close(stop)
	watch.Wait()
	if r.Listed != exports {
		t.Errorf("%d files were listed", r.Listed)
	}
	if most > before.HeapAlloc+8<<20 {
		t.Errorf("%d KiB in use, %d KiB before", most>>10, before.HeapAlloc>>10)
	}
}

// A lost disk takes the database and the processed files: what is in no backup stays on
// the server.
func TestADeletionWaitsForABackup(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.source.After = afterDelete
	s.server.Put("a.csv", "tip\na\n")
	r := s.fetched(1)
	clean := func(what string, want ...string) {
		t.Helper()
		if err := s.Clean(t.Context(), s.source, &r); err != nil || r.Err() != nil {
			t.Error(what, err, r.Err())
		}
		s.wantServer(want...)
	}
	execute := func(statement string) {
		t.Helper()
		if _, err := s.sql.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	backup := func(name string, age time.Duration) {
		t.Helper()
		if err := s.DB.RecordBackup(t.Context(), strings.Repeat(name, 64), "/backups/"+name, 1, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	backup("a", 2*time.Hour)
	execute(`UPDATE noggin_schema.fetched_exports SET imported_at = now() - interval '1 hour'`)
	clean("the backup is older than the import", "a.csv")
	execute(`INSERT INTO noggin_schema.copy_targets (url, endpoint) VALUES ('/second', '')`)
	backup("b", time.Minute)
	clean("the backup has no copy", "a.csv")
	execute(`INSERT INTO noggin_schema.copies (target_id, path, hash_sha256, size_bytes, kind, record_tip, version_id)
		SELECT t.id, b.path, b.hash_sha256, 1, 'backup', '', '' FROM noggin_schema.copy_targets t, noggin_schema.backups b WHERE b.path = '/backups/b'`)
	for what, change := range map[string][2]string{
		"the backup was removed":                 {`backups SET removed_at = now()`, `backups SET removed_at = NULL`},
		"the backup is of a clock that is ahead": {`backups SET taken_at = taken_at + interval '1 day'`, `backups SET taken_at = taken_at - interval '1 day'`},
		"the copy has a problem":                 {`copies SET problem = 'it differs'`, `copies SET problem = NULL`},
		"the copy is obsolete":                   {`copies SET obsolete_at = now()`, `copies SET obsolete_at = NULL`},
		"the copy is of another content":         {`copies SET hash_sha256 = hash_sha256 || 'x'`, `copies SET hash_sha256 = rtrim(hash_sha256, 'x')`},
	} {
		execute(`UPDATE noggin_schema.` + change[0])
		clean(what, "a.csv")
		execute(`UPDATE noggin_schema.` + change[1])
	}
	clean("the backup has a copy")
	s.server.Put("c.csv", "tip\nc\n")
	r = s.fetched(1)
	execute(`UPDATE noggin_schema.fetched_exports SET imported_at = now() WHERE imported_at IS NULL`)
	clean("imported after the backup", "c.csv")
	execute(`UPDATE noggin_schema.fetched_exports SET imported_at = now() - interval '9 days'; UPDATE noggin_schema.copies SET problem = 'it differs'`)
	clean("imported long ago")
	s.server.Put("d.csv", "tip\nd\n")
	r = s.fetched(1)
	execute(`UPDATE noggin_schema.fetched_exports SET imported_at = now() WHERE imported_at IS NULL`)
	execute(`UPDATE noggin_schema.backups SET taken_at = taken_at - interval '9 days'`)
	clean("no backup is made any more")
}

func TestAnExportThatNobodyImportedIsTold(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, name := range []string{"a.csv", "b.csv", "c.csv", "d.csv", "e.csv"} {
		s.server.Put(name, "tip\n"+name+"\n")
	}
	r := s.fetched(5)
	for path, set := range map[string]string{"b.csv": "fetched_at = now() - interval '2 days'", "c.csv": "fetched_at = now() - interval '2 days', imported_at = now()", "d.csv": "fetched_at = now() - interval '30 days'", "e.csv": "fetched_at = now() - interval '2 days'"} {
		if _, err := s.sql.Exec(`UPDATE noggin_schema.fetched_exports SET `+set+` WHERE path LIKE '%/' || $1`, path); err != nil {
			t.Fatal(err)
		}
	}
	// An import refused one. It is not lost, and not deleted until it is imported.
	unusable := fmt.Sprintf("%x", sha256.Sum256([]byte("tip\ne.csv\n")))
	if err := s.DB.UnusableContent(t.Context(), KindTips, unusable); err != nil {
		t.Fatal(err)
	}
	lost, err := s.DB.NeverImported(t.Context())
	if err != nil || len(lost) != 1 || lost[0].Path != s.server.Folder+"/b.csv" || lost[0].Host != s.DB.Host() {
		t.Errorf("%+v, %v", lost, err)
	}
	s.source.After = afterDelete
	for _, want := range [][]string{{"a.csv", "b.csv", "d.csv", "e.csv"}, {"a.csv", "b.csv", "d.csv"}} {
		if err := s.Clean(t.Context(), s.source, &r); err != nil || r.Err() != nil {
			t.Error(err, r.Err())
		}
		s.wantServer(want...)
		if err := s.DB.ImportedContent(t.Context(), KindTips, unusable); err != nil {
			t.Fatal(err)
		}
	}
}
