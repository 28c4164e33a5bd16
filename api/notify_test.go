package api

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// receiver notes what it is told.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	told []string // METHOD /path?query body
}

func newReceiver(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		r.told = append(r.told, strings.TrimSpace(req.Method+" "+req.URL.RequestURI()+" "+string(body)))
		r.mu.Unlock()
		answer(w, req)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.told)
}

func ok(http.ResponseWriter, *http.Request) {}

func beat(t *testing.T, url string, well bool, code int, text string) error {
	t.Helper()
	h, err := Notify{HeartbeatURL: url}.Begin(DefaultConfig())
	if err != nil || h == nil {
		t.Fatalf("%v, %v", h, err)
	}
	return h.End(well, code, text)
}

// A check of Healthchecks gets the begin and the end of a run, which one id joins; the
// signal ends the path, and a query of the address stays.
func TestAHeartbeatIsWhatHealthchecksExpects(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		path string
		well bool
		code int
		want []string
	}{
		{"/5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278", true, 0, []string{"POST /5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278/start?rid=ID", "POST /5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278?rid=ID exit code 0: all"}},
		{"/ping-key/noggin?create=1", false, 5, []string{"POST /ping-key/noggin/start?create=1&rid=ID", "POST /ping-key/noggin/fail?create=1&rid=ID exit code 5: all"}},
		{"/ping/x/", true, 3, []string{"POST /ping/x/start?rid=ID", "POST /ping/x/?rid=ID exit code 3: all"}},
	} {
		r := newReceiver(t, ok)
		if err := beat(t, r.URL+test.path, test.well, test.code, "all"); err != nil {
			t.Error(err)
		}
		ids := map[string]bool{}
		var got []string
		for _, told := range r.all() {
			got = append(got, uuid.ReplaceAllStringFunc(told, func(id string) string {
				ids[id] = true
				return "rid=ID"
			}))
		}
		if !slices.Equal(got, test.want) || len(ids) != 1 {
			t.Errorf("%s: told %q with the ids %v", test.path, r.all(), ids)
		}
	}
}

var uuid = regexp.MustCompile(`rid=[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)

// A push monitor of Uptime Kuma gets the end alone, by GET, in the query that its address
// shows.
func TestAHeartbeatIsWhatUptimeKumaExpects(t *testing.T) {
	t.Parallel()
	for well, want := range map[bool]string{
		true:  `^GET /api/push/Tok3n\?msg=exit\+code\+0%3A\+40\+taken&ping=\d+&status=up$`,
		false: `^GET /api/push/Tok3n\?msg=exit\+code\+0%3A\+40\+taken&ping=\d+&status=down$`,
	} {
		r := newReceiver(t, ok)
		if err := beat(t, r.URL+"/api/push/Tok3n?status=up&msg=OK&ping=", well, 0, "40 taken"); err != nil {
			t.Error(err)
		}
		if told := r.all(); len(told) != 1 || !regexp.MustCompile(want).MatchString(told[0]) {
			t.Errorf("told %q, want %s", told, want)
		}
	}
}

// A begin that arrives behind its end would leave a run that never ends.
func TestABeginThatIsLateIsCalledOffBeforeTheEnd(t *testing.T) {
	t.Parallel()
	calledOff := make(chan struct{})
	r := newReceiver(t, func(_ http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/start") {
			<-req.Context().Done()
			close(calledOff)
			return
		}
		<-calledOff
	})
	if err := beat(t, r.URL+"/ping", true, 0, "all"); err != nil {
		t.Error(err)
	}
}

// Whatever the receiver does, the run goes on at once, ends soon, and no error repeats the
// address.
func TestABadReceiverHoldsNoRunUp(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	elsewhere := newReceiver(t, ok)
	for name, url := range map[string]string{
		"down":   "http://127.0.0.1:1/secret-token-1234",
		"silent": "http://" + silent.Addr().String() + "/secret-token-1234",
		"slow": newReceiver(t, func(_ http.ResponseWriter, req *http.Request) {
			select {
			case <-req.Context().Done():
			case <-done:
			}
		}).URL + "/secret-token-1234",
		"endless":  newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { endless(w, done) }).URL + "/secret-token-1234",
		"refusing": newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }).URL + "/secret-token-1234",
		"redirecting": newReceiver(t, func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, elsewhere.URL+req.URL.Path, http.StatusTemporaryRedirect)
		}).URL + "/secret-token-1234",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			h, err := Notify{HeartbeatURL: url}.Begin(DefaultConfig())
			if err != nil {
				t.Fatal(err)
			}
			began, begin := time.Now(), time.Since(began)
			err = h.End(true, 0, "")
			if end := time.Since(began); begin > time.Second || end > 20*time.Second {
				t.Errorf("it held the run up for %s and its end for %s", begin, end)
			}
			if (err == nil) != (name == "endless") {
				t.Errorf("the end: %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error repeats the address: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		if told := elsewhere.all(); len(told) > 0 {
			t.Errorf("a redirect was followed: %q", told)
		}
	})
}

// endless answers with a body without end.
func endless(w http.ResponseWriter, done <-chan struct{}) {
	for {
		if _, err := w.Write(make([]byte, 1<<16)); err != nil {
			return
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

func TestAWebHookIsTriedAgain(t *testing.T) {
	t.Parallel()
	var tries atomic.Int32
	r := newReceiver(t, func(w http.ResponseWriter, req *http.Request) {
		if tries.Add(1) < 3 {
			w.WriteHeader(http.StatusBadGateway)
		}
		if req.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusUnsupportedMediaType)
		}
	})
	n := Notify{WebhookURL: r.URL + "/hook/secret-token-1234"}
	if err := n.Post(t.Context(), DefaultConfig(), []byte(`{"a":1}`), time.Millisecond); err != nil {
		t.Error(err)
	}
	if told := r.all(); len(told) != 3 || told[2] != `POST /hook/secret-token-1234 {"a":1}` {
		t.Errorf("told %q", told)
	}
	r.Close()
	err := n.Post(t.Context(), DefaultConfig(), []byte(`{"a":1}`), time.Millisecond)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a receiver that is down: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Post(ended, DefaultConfig(), nil, time.Hour); err == nil {
		t.Error("it went on after a signal")
	}
}

func TestNotifyWantsURLsAndRepeatsNone(t *testing.T) {
	t.Parallel()
	if err := (Notify{HeartbeatURL: "https://hc-ping.com/x", WebhookURL: "http://127.0.0.1:1/y"}).Validate(); err != nil {
		t.Error(err)
	}
	err := Notify{HeartbeatURL: "hc-ping.com/my-secret", WebhookURL: "ftp://host/my-secret"}.Validate()
	if err == nil || strings.Contains(err.Error(), "my-secret") || strings.Count(err.Error(), "want a URL") != 2 {
		t.Errorf("%v", err)
	}
	if h, err := (Notify{}).Begin(DefaultConfig()); h != nil || err != nil || h.End(true, 0, "") != nil {
		t.Errorf("without an address: %v, %v", h, err)
	}
}
