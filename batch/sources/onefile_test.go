package sources

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/storage"
)

// badFile is a server that neither gives nor deletes one file, such as one on a bad sector.
// It has all in memory.
type badFile struct {
	sftp.FileReader
	sftp.FileCmder
	name string
}

var errBadSector = errors.New("input/output error")

func (b badFile) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	if path.Base(r.Filepath) == b.name {
		return nil, errBadSector
	}
	return b.FileReader.Fileread(r)
}

func (b badFile) Filecmd(r *sftp.Request) error {
	if path.Base(r.Filepath) == b.name {
		return errBadSector
	}
	return b.FileCmder.Filecmd(r)
}

// connectTo connects to a server with the files, of which it refuses the bad one.
func (s *site) connectTo(bad string, names ...string) (c *connection, found []storage.RemoteFile) {
	s.t.Helper()
	memory := sftp.InMemHandler()
	one := badFile{memory.FileGet, memory.FileCmd, bad}
	memory.FileGet, memory.FileCmd = one, one
	here, there := net.Pipe()
	server := sftp.NewRequestServer(there, memory)
	go func() { _ = server.Serve() }()
	s.t.Cleanup(func() { _, _ = here.Close(), server.Close() })
	client, err := sftp.NewClientPipe(here, here)
	batchtest.Must(s.t, err)
	for _, name := range names {
		f, err := client.Create("/" + name)
		batchtest.Must(s.t, err)
		_, err = f.Write([]byte("tip\n" + name + "\n"))
		batchtest.Must(s.t, errors.Join(err, f.Close()))
		info, err := client.Lstat("/" + name)
		batchtest.Must(s.t, err)
		found = append(found, storage.RemoteFile{Path: "/" + name, Size: info.Size(), Modified: info.ModTime()})
	}
	return &connection{tcp: here, sftp: client, patient: time.Minute, host: "host"}, found
}

func TestAFileThatItsServerCannotGiveHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c, found := s.connectTo("bad.csv", "bad.csv", "good.csv")
	tray, err := s.openTray(KindTips)
	batchtest.Must(t, err)
	defer files.Release(tray)
	r := Result{Source: s.source.Name, Kind: KindTips}
	for _, file := range found {
		if err := s.file(t.Context(), c, tray, file, &r); err != nil {
			t.Errorf("%s ends the fetch: %v", file.Path, err)
		}
	}
	s.wantInput("good.csv")
	if r.Err() == nil || r.Fetched != 1 {
		t.Errorf("%+v", r)
	}
	if n := s.count(`SELECT count(*) FROM noggin_schema.fetched_exports`); n != 1 {
		t.Errorf("%d files count as fetched", n)
	}
}

func TestAFileThatItsServerCannotDeleteHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c, found := s.connectTo("bad.csv", "bad.csv", "good.csv")
	r := Result{Source: s.source.Name, Kind: KindTips}
	batchtest.Must(t, s.removeAll(t.Context(), c, found, &r))
	if _, err := c.sftp.Lstat("/good.csv"); r.Err() == nil || r.Deleted != 1 || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%+v, the good file: %v", r, err)
	}
	// A server that refuses all of very many is not asked about each.
	bad := slices.Repeat(found[:1], 2*mostRefused)
	if err := s.removeAll(t.Context(), c, bad, &r); err == nil {
		t.Error("a server was asked to delete everything, and refused it")
	}
}
