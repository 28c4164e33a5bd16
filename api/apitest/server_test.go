package apitest

import (
	"io"
	"net/http"
	"runtime"
	"sync"
	"testing"
)

// request asks for a path with the server's credentials.
func (s *Server) request(tb testing.TB, path string) *http.Request {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, s.URL()+path, http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.Token())
	r.Header.Set("En-Namespace", s.Namespace())
	r.Header.Set("User-Agent", "test")
	return r
}

// reply is a response with its body as far as it came.
type reply struct {
	status int
	header http.Header
	length int64 // as declared; -1 when it was not
	body   []byte
}

// get asks for a path with the server's credentials.
func (s *Server) get(tb testing.TB, path string) (reply, error) {
	tb.Helper()
	return do(s.request(tb, path))
}

func do(r *http.Request) (reply, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r) // follows no redirects
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, resp.ContentLength, body}, err
}

func pathOf(r Record) string { return "/rest/object/" + r.APIName + "/" + r.Tip }

func TestServesRecordsAndMediaUnderAnyPrefix(t *testing.T) {
	s := Start(t, Options{Records: 12})
	for r := range s.Records() {
		got, err := s.get(t, "/some/prefix"+pathOf(r))
		if err != nil || got.status != http.StatusOK || string(got.body) != string(s.Payload(r.Tip)) {
			t.Fatalf("record %s: %v, %v", r.InspectionID, got, err)
		}
		if got.length != int64(len(got.body)) {
			t.Errorf("Content-Length %d, body %d", got.length, len(got.body))
		}
		for _, a := range r.Attachments {
			for _, path := range []string{a.Ref, "/mediaservice" + a.Ref[len("/media"):]} {
				got, err := s.get(t, path)
				if err != nil || string(got.body) != string(s.Media(a.Tip)) || got.header.Get("Content-Type") != a.Type {
					t.Fatalf("media %s: %v, %v", a.Tip, got, err)
				}
			}
		}
	}
}

func TestChecksCredentialsAndForm(t *testing.T) {
	s := Start(t, Options{Records: 6, Photos: Fixed(1)})
	r := s.Record(0)
	media := r.Attachments[0].Ref
	for name, tc := range map[string]struct {
		path   string
		change func(*http.Request)
		status int
	}{
		"all right":          {pathOf(r), func(*http.Request) {}, 200},
		"no token":           {pathOf(r), func(q *http.Request) { q.Header.Del("Authorization") }, 401},
		"wrong token":        {pathOf(r), func(q *http.Request) { q.Header.Set("Authorization", "Bearer x") }, 401},
		"no namespace":       {pathOf(r), func(q *http.Request) { q.Header.Del("En-Namespace") }, 403},
		"media without any":  {media, func(q *http.Request) { q.Header = http.Header{} }, 401},
		"media of other ns":  {"/media/file?ns=x&tip=" + r.Attachments[0].Tip, func(*http.Request) {}, 403},
		"unknown tip":        {"/rest/object/" + r.APIName + "/abc", func(*http.Request) {}, 404},
		"other form's tip":   {"/rest/object/trailerAudits/" + r.Tip, func(*http.Request) {}, 404},
		"attachment as form": {"/rest/object/" + r.APIName + "/" + r.Attachments[0].Tip, func(*http.Request) {}, 404},
		"record as media":    {"/media/file?ns=" + s.Namespace() + "&tip=" + r.Tip, func(*http.Request) {}, 404},
		"elsewhere":          {"/", func(*http.Request) {}, 404},
		"post":               {pathOf(r), func(q *http.Request) { q.Method = http.MethodPost }, 405},
	} {
		t.Run(name, func(t *testing.T) {
			q := s.request(t, tc.path)
			tc.change(q)
			got, err := do(q)
			if err != nil || got.status != tc.status {
				t.Errorf("got %v, %v, want %d", got, err, tc.status)
			}
		})
	}
}

func TestOpenAccessNeedsNoCredentials(t *testing.T) {
	s := Start(t, Options{Records: 1, Photos: Fixed(1), OpenAccess: true})
	q := s.request(t, s.Record(0).Attachments[0].Ref)
	q.Header = http.Header{}
	if got, err := do(q); err != nil || got.status != http.StatusOK {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestCountsAndLogs(t *testing.T) {
	s := Start(t, Options{Records: 2, Forms: []string{"LCD"}, Photos: Fixed(1), Log: true})
	r := s.Record(0)
	hold := s.AddFault(Fault{Kind: "hang", On: OnMedia})
	var waiting sync.WaitGroup
	for range 3 {
		q := s.request(t, r.Attachments[0].Ref)
		waiting.Go(func() { _, _ = do(q) })
	}
	for s.Stats().InFlight < 3 {
		runtime.Gosched()
	}
	s.RemoveFault(hold)
	if _, err := s.get(t, pathOf(r)); err != nil {
		t.Fatal(err)
	}
	q := s.request(t, pathOf(r))
	q.Header = http.Header{}
	if _, err := do(q); err != nil {
		t.Fatal(err)
	}
	stats := s.Stats()
	if stats.Requests != 5 || stats.ByKind[OnRecord] != 2 || stats.ByKind[OnMedia] != 3 || stats.ByStatus[200] != 1 ||
		stats.ByStatus[401] != 1 || stats.Authorized != 4 || stats.Namespaced != 4 || stats.Peak != 4 {
		t.Errorf("stats %+v", stats)
	}
	if stats.ConnectionsOpened != 5 || stats.ConnectionsPeak < 4 {
		t.Errorf("connections %+v", stats)
	}
	log := s.Log()
	last := log[len(log)-1]
	if len(log) != 5 || last.Status != 401 || last.Authorized || last.Record != r.Tip || last.End.Before(last.Start) {
		t.Errorf("log ends with %+v", last)
	}
	if log[0].Client != "test" || !log[0].Authorized || log[0].Record != r.Tip || !log[0].End.IsZero() {
		t.Errorf("log begins with %+v", log[0])
	}
	s.Close()
	waiting.Wait()
	s.ResetStats()
	if stats := s.Stats(); stats.Requests != 0 || len(s.Log()) != 0 {
		t.Errorf("after a reset: %+v", stats)
	}
}

func TestOverlapsAreFoundByClient(t *testing.T) {
	s := New(Options{})
	start := s.opts.FirstDay
	entry := func(record, client string, from, to int) Entry {
		return Entry{Record: record, Client: client, Start: start.AddDate(0, 0, from), End: start.AddDate(0, 0, to)}
	}
	log := []Entry{
		entry("a", "one", 0, 10), entry("a", "one", 2, 5), entry("b", "two", 1, 3),
		entry("a", "two", 10, 12), entry("b", "one", 2, 4),
	}
	found := Overlaps(log, func(e Entry) string { return e.Client })
	if len(found) != 1 || found[0].First.Record != "b" {
		t.Errorf("overlaps %+v", found)
	}
}
