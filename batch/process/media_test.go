package process_test

import (
	"archive/zip"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/forms"
	"noggin/batch/process"
)

// pages are what proxies and object stores answer instead of a file.
var pages = []string{
	"<center><h1>502</h1></center>", "<meta charset=utf-8>", "<br />\n<b>Fatal error</b>", "<style>p{}</style>",
	"The service is unavailable.", strings.Repeat("\r\n", 1400) + "<html>sorry</html>", "\xef\xbb\xbf<!DOCTYPE html><p>sorry",
	"\xff\xfe<\x00h\x00t\x00m\x00l\x00>\x00", `{"error":"unavailable"}`, `{"status":503,"title":"Service Unavailable"}`,
	`<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>`, "any text at all",
}

func TestAPageInThePlaceOfAPhotographIsNeverCompleteNorCounted(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(len(pages), 1))
	m.Circuit.SampleSize = 1000 // stays closed
	for i, page := range pages {
		m.Server.AddFault(apitest.Fault{Kind: "body", On: apitest.OnMedia, Value: page, Tips: []string{m.Server.Record(i).Tip}})
	}
	for range 3 { // the same page again and again is no evidence either
		m.MakeDue()
		if s := m.MustRun(process.Options{UntilEmpty: true}); s.Failed != len(pages) {
			t.Errorf("summary %+v", s)
		}
	}
	if kept, _ := filesOf(m); len(kept) > 0 {
		t.Errorf("kept: %v", kept)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.processing_errors WHERE error_type <> 'html_page'`); n != "0" {
		t.Errorf("%s failures are of another type", n)
	}
	nothingCounted(m)
	m.Server.ClearFaults()
	m.MakeDue()
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != len(pages) {
		t.Errorf("afterwards: %+v", s)
	}
}

func TestAFieldOfDocumentsTakesTextButNoPage(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(3, 1))
	types, err := forms.New([]forms.ObjectType{{Code: "LCD", Media: []forms.MediaField{{Field: m.Server.Record(0).Attachments[0].Field, Stub: "paper", Kind: "document"}}}})
	if err != nil {
		t.Fatal(err)
	}
	m.Types = types
	for i, body := range []string{`<?xml version="1.0"?><order/>`, `{"stops":[1,2]}`, "<html>sorry</html>"} {
		m.Server.AddFault(apitest.Fault{Kind: "body", On: apitest.OnMedia, Value: body, Tips: []string{m.Server.Record(i).Tip}})
	}
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 2 || s.Failed != 1 {
		t.Errorf("summary %+v", s)
	}
}

// song is an MP3: nothing in it proves its end.
var song = "ID3\x04\x00\x00\x00\x00\x02\x00TIT2\x00\x00\x00\x05\x00\x00\x00Song" + strings.Repeat("\x00", 300)

// A proxy may compress what it was asked to leave as it is.
func TestContentInAnUnknownEncodingIsKeptOnlyWhenItProvesItself(t *testing.T) {
	t.Parallel()
	var encoding, body string // "": the photograph
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 1))
	target, err := url.Parse(m.Server.URL())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(resp *http.Response) error {
			if resp.Header.Set("Content-Encoding", encoding); body != "" {
				resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
				resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
			}
			return nil
		},
	})
	t.Cleanup(proxy.Close)
	m.API.MediaServiceURL = proxy.URL + "/media"
	for _, test := range []struct{ encoding, body, want string }{
		{"zstd", "\x28\xb5\x2f\xfd\x04\x00" + strings.Repeat("x", 300), "failed not_validated"},
		{"xz", "\xfd7zXZ\x00" + strings.Repeat("x", 300), "failed not_validated"},
		{"bzip2", "BZh91AY&SY" + strings.Repeat("x", 300), "failed not_validated"},
		{"br", strings.Repeat("\x00", 300), "failed not_validated"},
		{"br", "", "complete valid"},
	} {
		encoding, body = test.encoding, test.body
		m.MakeDue()
		m.MustRun(process.Options{UntilEmpty: true})
		if got := attachmentsOf(m); got != test.want {
			t.Errorf("%s %.8q: %s, want %s\n%s", test.encoding, test.body, got, test.want, m.Logged)
		}
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.processing_errors WHERE error_type = 'html_page'`); n != "4" {
		t.Errorf("%s failures are of a page", n)
	}
}

func wordFile(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range []string{"[Content_Types].xml", "word/document.xml"} {
		if _, err := z.Create(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWithoutALengthOnlyWhatIsProvedOrComesTwiceIsComplete(t *testing.T) {
	t.Parallel()
	world := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 1)).Server
	photograph := string(world.Media(world.Record(0).Attachments[0].Tip))
	for name, test := range map[string]struct {
		body  string
		keep  []float64 // of the answers in turn; the last one repeats
		want  string
		asked int // for the attachment, by the first run
	}{
		"whole photograph":    {photograph, []float64{1}, "complete valid", 1},
		"cut photograph":      {photograph, []float64{0.9}, "failed validation_failed", 1},
		"whole document":      {wordFile(t), []float64{1}, "complete valid", 1},
		"cut document":        {wordFile(t), []float64{0.9}, "failed validation_failed", 1},
		"motion photograph":   {photograph + strings.Repeat("video", 100), []float64{1}, "complete valid", 2},
		"cut motion at first": {photograph + strings.Repeat("video", 100), []float64{0.99, 1}, "failed not_validated", 2},
		"mp3":                 {song, []float64{1}, "complete not_validated", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 1))
			for i, keep := range test.keep {
				f := apitest.Fault{Kind: "cut-close", On: apitest.OnMedia, Value: test.body, Keep: keep}
				if i < len(test.keep)-1 {
					f.FirstHits = 1
				}
				m.Server.AddFault(f)
			}
			m.MustRun(process.Options{UntilEmpty: true})
			if got := attachmentsOf(m); got != test.want || m.MediaRequests() != test.asked {
				t.Errorf("%s after %d requests", got, m.MediaRequests())
			}
			if test.asked == 2 && strings.HasPrefix(test.want, "failed") {
				// The next run gets what the second download had.
				m.MakeDue()
				m.MustRun(process.Options{UntilEmpty: true})
				if got := attachmentsOf(m); got != "complete valid" || m.MediaRequests() != 3 {
					t.Errorf("later %s after %d requests", got, m.MediaRequests())
				}
			}
			if kept, _ := filesOf(m); len(kept) == 1 {
				if data, err := os.ReadFile(filepath.Join(m.Output, kept[0])); err != nil || string(data) != test.body {
					t.Errorf("kept %d of %d bytes, %v", len(data), len(test.body), err)
				}
			}
		})
	}
}

func TestASuspectIsAskedForAgainAndTheWholeFileIsKeptBesideIt(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 1))
	m.Server.AddFault(apitest.Fault{Kind: "cut-picture"})
	for range 2 {
		m.MakeDue()
		m.MustRun(process.Options{UntilEmpty: true})
	}
	if got := attachmentsOf(m); got != "complete suspect" {
		t.Fatal(got)
	}
	ask := func(want string, files int) {
		t.Helper()
		if s := m.MustRun(process.Options{Selector: m.Only(0)}); s.Failed+s.Partial != 0 {
			t.Errorf("summary %+v", s)
		}
		status := m.Value(`SELECT processing_status FROM noggin_schema.noggin_data`)
		kept, _ := filesOf(m)
		if got := attachmentsOf(m); got != want || status != "complete" || len(kept) != files {
			t.Errorf("%s, %s with %v, want %s", status, got, kept, want)
		}
	}
	suspect := m.Value(`SELECT file_path || ' ' || file_hash_sha256 FROM noggin_schema.attachments`)
	ask("complete suspect", 1) // the same bytes
	m.Server.SetFaults(apitest.Fault{Kind: "cut-picture", Keep: 0.7})
	ask("complete suspect", 1) // other broken ones
	m.Server.SetFaults(apitest.Fault{Kind: "body", On: apitest.OnMedia, Value: "<html>sorry</html>"})
	ask("complete suspect", 1)
	m.Server.ClearFaults()
	ask("complete valid", 2)
	if former := m.Value(`SELECT path || ' ' || hash_sha256 FROM noggin_schema.former_files WHERE kind = 'suspect'`); former != suspect {
		t.Errorf("former %q, want %q", former, suspect)
	}
	m.Server.ResetStats()
	ask("complete valid", 2)
	if n := m.MediaRequests(); n != 0 {
		t.Errorf("%d requests for a whole photograph", n)
	}
	// The rules of an older noggin found it broken.
	m.Execute(`UPDATE noggin_schema.attachments SET attachment_validation_status = 'suspect'`)
	ask("complete valid", 2)
	// In an archive it stays as it is: its file is not on disk.
	m.Execute(`INSERT INTO noggin_schema.archives (name, path, month) VALUES ('a', '/a', '2025-01');
		UPDATE noggin_schema.attachments SET attachment_validation_status = 'suspect', archive_id = (SELECT max(id) FROM noggin_schema.archives);
		UPDATE noggin_schema.noggin_data SET archived = true`)
	batchtest.Must(t, os.Remove(filepath.Join(m.Output, m.Value(`SELECT file_path FROM noggin_schema.attachments`))))
	ask("complete suspect", 1)
	if n := m.Value(`SELECT count(*) FROM noggin_schema.attachments WHERE archive_id IS NOT NULL`); n != "1" {
		t.Error("a file that is in an archive is recorded as on disk")
	}
}

func TestAPageThatAnOlderNogginKeptGivesItsPlaceAndStaysAsEvidence(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 1))
	m.MustRun(process.Options{UntilEmpty: true})
	kept, _ := filesOf(m)
	page := strings.TrimSuffix(kept[0], filepath.Ext(kept[0])) + ".txt"
	text := "<center>502</center>"
	if err := os.Remove(filepath.Join(m.Output, kept[0])); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.Output, page), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m.Execute(`UPDATE noggin_schema.attachments SET content_type = 'text/plain', file_path = '` + page + `', file_size_bytes = ` + strconv.Itoa(len(text)) +
		`, file_hash_sha256 = encode(sha256('` + text + `'), 'hex'), attachment_validation_status = 'not_validated'`)
	// As noggin validate data --fix does.
	m.Execute(`UPDATE noggin_schema.attachments SET attachment_status = 'pending'`)
	m.Execute(`UPDATE noggin_schema.noggin_data SET processing_status = 'interrupted', next_retry_at = now()`)
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 || s.AttachmentsDownloaded != 1 {
		t.Errorf("summary %+v", s)
	}
	if got := attachmentsOf(m) + " " + m.Value(`SELECT path FROM noggin_schema.former_files WHERE kind <> 'report'`); got != "complete valid "+page {
		t.Error(got)
	}
	if now, _ := filesOf(m); len(now) != 2 {
		t.Errorf("files %v", now)
	}
}
