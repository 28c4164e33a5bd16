package apitest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"image/jpeg"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// faulty serves one LCD record with photographs and one fault.
func faulty(t *testing.T, f Fault) (*Server, Record) {
	t.Helper()
	s := Start(t, Options{Records: 2, Forms: []string{"LCD"}, Photos: Fixed(2), MediaBytes: Fixed(200_000)})
	s.SetFaults(f)
	return s, s.Record(0)
}

func TestStatusFaults(t *testing.T) {
	ahead := func(v string) bool {
		at, err := time.Parse(http.TimeFormat, v)
		return err == nil && time.Until(at) > 50*time.Second && time.Until(at) < 70*time.Second
	}
	for spec, after := range map[string]func(string) bool{
		"status=401":                         func(v string) bool { return v == "" },
		"status=404":                         func(v string) bool { return v == "" },
		"status=429,retry_after=7":           func(v string) bool { return v == "7" },
		"status=429,retry_after=garbage":     func(v string) bool { return v == "garbage" },
		"status=503,retry_after=date+1m":     ahead,
		"status=429,retry_after=99999999999": func(v string) bool { return v == "99999999999" },
	} {
		t.Run(spec, func(t *testing.T) {
			f, err := ParseFault(spec)
			if err != nil {
				t.Fatal(err)
			}
			s, r := faulty(t, f)
			for _, path := range []string{pathOf(r), r.Attachments[0].Ref} {
				got, err := s.get(t, path)
				if err != nil || got.status != f.Status || !after(got.header.Get("Retry-After")) {
					t.Errorf("%s: %v, %v", path, got, err)
				}
			}
		})
	}
}

// Each fault of a document is told by what it leaves behind.
func TestDocumentFaults(t *testing.T) {
	meta := func(d *document) (tip string) {
		var m struct{ Tip string }
		_ = json.Unmarshal(d.get("$meta"), &m)
		return m.Tip
	}
	for _, tc := range []struct {
		fault Fault
		holds func(d *document, r Record) bool
	}{
		{Fault{Kind: "wrong-tip"}, func(d *document, r Record) bool { return len(meta(d)) == 64 && meta(d) != r.Tip }},
		{Fault{Kind: "no-tip"}, func(d *document, _ Record) bool { return d.get("$meta") != nil && meta(d) == "" }},
		{Fault{Kind: "no-meta"}, func(d *document, _ Record) bool { return d.get("$meta") == nil }},
		{Fault{Kind: "no-id"}, func(d *document, r Record) bool { return d.get("lcdInspectionId") == nil && meta(d) == r.Tip }},
		{Fault{Kind: "no-date"}, func(d *document, _ Record) bool { return d.get("date") == nil }},
		{Fault{Kind: "delete", Field: "team"}, func(d *document, _ Record) bool { return d.get("team") == nil }},
		{Fault{Kind: "set", Field: "x", Value: `[1]`}, func(d *document, _ Record) bool { return string(d.get("x")) == "[1]" }},
		{Fault{Kind: "set", Field: "x", Value: `a b`}, func(d *document, _ Record) bool { return d.text("x") == "a b" }},
		{Fault{Kind: "hostile-id"}, func(d *document, _ Record) bool { return slices.Contains(HostileNames(), d.text("lcdInspectionId")) }},
		{Fault{Kind: "hostile-id", Value: "../x"}, func(d *document, _ Record) bool { return d.text("lcdInspectionId") == "../x" }},
		{Fault{Kind: "hostile-names"}, func(d *document, r Record) bool {
			return slices.Contains(HostileNames(), d.text("driverLoaderName")) && d.text("lcdInspectionId") == r.InspectionID
		}},
		{Fault{Kind: "hostile-field", Value: "../x"}, func(d *document, _ Record) bool { return strings.Contains(string(d.get("../x")), "/media/file") }},
		{Fault{Kind: "hostile-media"}, func(d *document, _ Record) bool {
			return strings.Contains(string(d.get("attachments")), "file:///etc/passwd")
		}},
		{Fault{Kind: "repeated-id"}, func(d *document, _ Record) bool { return d.text("lcdInspectionId") == "LCD - 000001" }},
		{Fault{Kind: "nul"}, func(d *document, _ Record) bool { return strings.Contains(d.text("inspectedBy"), "\x00") }},
		{Fault{Kind: "numbers-as-text"}, func(d *document, _ Record) bool {
			return d.get("noOfStraps")[0] == '"' && d.get("jobNumber")[0] != '"'
		}},
		{Fault{Kind: "double-media"}, func(d *document, r Record) bool {
			return strings.Count(string(d.encode()), r.Attachments[0].Tip) == 2
		}},
		{Fault{Kind: "unusual-document"}, func(d *document, _ Record) bool { return string(d.get("inspectedBy")) == "null" }},
	} {
		t.Run(tc.fault.Kind+tc.fault.Value, func(t *testing.T) {
			s, r := faulty(t, tc.fault)
			got, err := s.get(t, pathOf(r))
			if err != nil || got.status != http.StatusOK {
				t.Fatal(got, err)
			}
			if doc, err := parseDocument(got.body); err != nil || !json.Valid(got.body) || !tc.holds(doc, r) {
				t.Errorf("%v: %s", err, got.body)
			}
			if media, err := s.get(t, r.Attachments[0].Ref); err != nil || media.status != http.StatusOK {
				t.Error("media is hurt too")
			}
		})
	}
}

func TestBodyFaults(t *testing.T) {
	for _, tc := range []struct {
		kind  string
		media bool
		holds func(g reply, good []byte) bool
	}{
		{"html", false, func(g reply, _ []byte) bool { return strings.HasPrefix(g.header.Get("Content-Type"), "text/html") }},
		{"html", true, func(g reply, _ []byte) bool { return strings.HasPrefix(string(g.body), "<!DOCTYPE html>") }},
		{"html-picture", true, func(g reply, _ []byte) bool {
			return strings.HasPrefix(string(g.body), "<!DOCTYPE html>") && g.header.Get("Content-Type") == typeJPEG
		}},
		{"empty", false, func(g reply, _ []byte) bool { return len(g.body) == 0 && g.length == 0 }},
		{"empty-picture", true, func(g reply, _ []byte) bool { return len(g.body) == 0 && g.length == 0 }},
		{"empty-object", false, func(g reply, _ []byte) bool { return string(g.body) == "{}" }},
		{"array", false, func(g reply, good []byte) bool { return string(g.body) == "["+string(good)+"]" }},
		{"malformed", false, func(g reply, good []byte) bool {
			return !json.Valid(g.body) && bytes.HasPrefix(good, g.body) && g.length == int64(len(g.body))
		}},
		{"error-object", true, func(g reply, _ []byte) bool {
			return string(g.body) == `{"error":"internal error"}` && g.header.Get("Content-Type") == "application/json"
		}},
		{"cut-picture", true, func(g reply, good []byte) bool {
			return len(g.body) == len(good)/2 && bytes.HasPrefix(good, g.body) && g.length == int64(len(g.body))
		}},
		{"delay", true, func(g reply, good []byte) bool { return bytes.Equal(g.body, good) }},
	} {
		t.Run(tc.kind, func(t *testing.T) {
			s, r := faulty(t, Fault{Kind: tc.kind, Delay: time.Millisecond})
			path, good := pathOf(r), s.Payload(r.Tip)
			if tc.media {
				path, good = r.Attachments[0].Ref, s.Media(r.Attachments[0].Tip)
			}
			got, err := s.get(t, path)
			if err != nil || got.status != http.StatusOK || !tc.holds(got, good) {
				t.Errorf("%v, %d bytes, %v, %v", got.status, len(got.body), got.header, err)
			}
		})
	}
}

func TestBrokenConnections(t *testing.T) {
	for _, tc := range []struct {
		kind  string
		err   error // nil: the client notices nothing
		bytes bool  // a part of the body arrives
	}{
		{"reset", syscall.ECONNRESET, false},
		{"reset-body", syscall.ECONNRESET, false}, // a reset may overtake the body
		{"cut", io.ErrUnexpectedEOF, true},
		{"cut-chunked", io.ErrUnexpectedEOF, true},
		{"cut-close", nil, true},
	} {
		t.Run(tc.kind, func(t *testing.T) {
			s, r := faulty(t, Fault{Kind: tc.kind})
			good := s.Media(r.Attachments[0].Tip)
			got, err := s.get(t, r.Attachments[0].Ref)
			if !errors.Is(err, tc.err) {
				t.Errorf("error %v, want %v", err, tc.err)
			}
			if !bytes.HasPrefix(good, got.body) || len(got.body) == len(good) || tc.bytes && len(got.body) != len(good)/2 {
				t.Errorf("%d of %d bytes arrived", len(got.body), len(good))
			}
		})
	}
}

func TestHangsUntilTheClientLeaves(t *testing.T) {
	for kind, bytes := range map[string]int64{"hang": 0, "hang-body": 100_000} {
		t.Run(kind, func(t *testing.T) {
			s, r := faulty(t, Fault{Kind: kind})
			ctx, cancel := context.WithCancel(t.Context())
			q := s.request(t, r.Attachments[0].Ref).WithContext(ctx)
			arrived, done := make(chan struct{}), make(chan int64, 1)
			go func() {
				resp, err := http.DefaultTransport.RoundTrip(q)
				if err != nil {
					close(arrived)
					done <- 0
					return
				}
				defer resp.Body.Close()
				n, _ := io.CopyN(io.Discard, resp.Body, bytes) // the number tells
				close(arrived)
				more, _ := io.Copy(io.Discard, resp.Body) // until it is cancelled
				done <- n + more
			}()
			for s.Stats().InFlight == 0 {
				time.Sleep(time.Millisecond)
			}
			if bytes > 0 {
				<-arrived
			}
			select {
			case <-done:
				t.Fatal("answered")
			case <-time.After(100 * time.Millisecond):
			}
			cancel()
			if n := <-done; n != bytes {
				t.Errorf("%d bytes arrived", n)
			}
			for s.Stats().InFlight > 0 {
				time.Sleep(time.Millisecond)
			}
		})
	}
}

func TestCloseLetsHangingAnswersGo(t *testing.T) {
	s, r := faulty(t, Fault{Kind: "hang"})
	done := make(chan error)
	q := s.request(t, pathOf(r))
	go func() {
		_, err := do(q)
		done <- err
	}()
	for s.Stats().InFlight == 0 {
		time.Sleep(time.Millisecond)
	}
	s.Close()
	if err := <-done; err == nil {
		t.Error("the hanging request was answered")
	}
}

func TestDripIsSlowButRight(t *testing.T) {
	s, r := faulty(t, Fault{Kind: "drip", Size: 20_000, Pause: 2 * time.Millisecond})
	begun := time.Now()
	got, err := s.get(t, r.Attachments[0].Ref)
	if err != nil || !bytes.Equal(got.body, s.Media(r.Attachments[0].Tip)) {
		t.Error("the body is not right", err)
	}
	if took := time.Since(begun); took < 20*time.Millisecond {
		t.Errorf("took only %v", took)
	}
}

func TestAnAnswerIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Records: 1, OpenAccess: true})
		held := make(chan struct{})
		s.AddFault(Fault{Kind: "delay", Held: held})
		w := httptest.NewRecorder()
		go s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, pathOf(s.Record(0)), nil))
		synctest.Wait()
		if w.Body.Len() > 0 {
			t.Error("it came while it was held")
		}
		close(held)
		synctest.Wait()
		if w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), s.Payload(s.Record(0).Tip)) {
			t.Errorf("status %d, %d bytes", w.Code, w.Body.Len())
		}
	})
}

func TestHugeAnswersAreValid(t *testing.T) {
	const size = 3_000_000
	s, r := faulty(t, Fault{Kind: "huge", Size: size})
	got, err := s.get(t, pathOf(r))
	if err != nil || len(got.body) != size || !json.Valid(got.body) {
		t.Errorf("record: %d bytes, %v", len(got.body), err)
	}
	got, err = s.get(t, r.Attachments[0].Ref)
	if err != nil || len(got.body) != size {
		t.Errorf("media: %d bytes, %v", len(got.body), err)
	}
	if _, err := jpeg.Decode(bytes.NewReader(got.body)); err != nil {
		t.Error(err)
	}
}

func TestGzipBombUnfoldsToTheAnswerAndBlanks(t *testing.T) {
	const size = 64 << 20
	s, r := faulty(t, Fault{Kind: "gzip-bomb", Size: size})
	q := s.request(t, pathOf(r))
	q.Header.Set("Accept-Encoding", "gzip") // so that the client leaves it packed
	got, err := do(q)
	if err != nil || got.header.Get("Content-Encoding") != "gzip" || len(got.body) > size/500 {
		t.Fatalf("%d bytes, %v, %v", len(got.body), got.header, err)
	}
	unzip, err := gzip.NewReader(bytes.NewReader(got.body))
	if err != nil {
		t.Fatal(err)
	}
	good := s.Payload(r.Tip)
	head := make([]byte, len(good))
	if _, err := io.ReadFull(unzip, head); err != nil || !bytes.Equal(head, good) {
		t.Error("does not begin with the answer", err)
	}
	if n, err := io.Copy(io.Discard, unzip); err != nil || n != size {
		t.Errorf("unfolds to %d blanks, %v", n, err)
	}
}

func TestEndlessGoesOnUntilTheClientLeaves(t *testing.T) {
	s, r := faulty(t, Fault{Kind: "endless"})
	for _, path := range []string{pathOf(r), r.Attachments[0].Ref} {
		resp, err := http.DefaultTransport.RoundTrip(s.request(t, path))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.CopyN(io.Discard, resp.Body, 20<<20)
		if resp.ContentLength != -1 || err != nil {
			t.Errorf("%s: length %d, ended after %d: %v", path, resp.ContentLength, n, err)
		}
		_ = resp.Body.Close()
	}
}

func TestRedirects(t *testing.T) {
	t.Run("same host", func(t *testing.T) {
		s, r := faulty(t, Fault{Kind: "redirect"})
		got, err := s.get(t, r.Attachments[0].Ref)
		if err != nil || got.status != http.StatusFound {
			t.Fatal(got.status, err)
		}
		got, err = s.get(t, got.header.Get("Location"))
		if err != nil || !bytes.Equal(got.body, s.Media(r.Attachments[0].Tip)) {
			t.Error("the new place does not serve it", got.status, err)
		}
	})
	t.Run("another port", func(t *testing.T) {
		other := Start(t, Options{Records: 2, Forms: []string{"LCD"}, Photos: Fixed(2), OpenAccess: true})
		s, r := faulty(t, Fault{Kind: "redirect", Status: 307, Location: other.URL()})
		got, err := s.get(t, r.Attachments[0].Ref)
		if err != nil || got.status != 307 || !strings.HasPrefix(got.header.Get("Location"), other.URL()+"/media/file?ns=") {
			t.Error(got.status, got.header, err)
		}
	})
	t.Run("loop", func(t *testing.T) {
		s, r := faulty(t, Fault{Kind: "redirect-loop"})
		path := r.Attachments[0].Ref
		for range 3 {
			got, err := s.get(t, path)
			if err != nil || got.status != http.StatusFound {
				t.Fatal(got.status, err)
			}
			path = got.header.Get("Location")
		}
	})
}

func TestRefusalsAreNotDressedUp(t *testing.T) {
	s, r := faulty(t, Fault{Kind: "html"})
	q := s.request(t, pathOf(r))
	q.Header.Del("Authorization")
	if got, err := do(q); err != nil || got.status != http.StatusUnauthorized {
		t.Error(got.status, err)
	}
}
