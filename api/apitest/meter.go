package apitest

import (
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// maxCountedTips bounds the memory of the counts by tip; of tips beyond it only
// the totals are kept.
const maxCountedTips = 1 << 21

// Stats are a server's counts since its start or the last ResetStats.
type Stats struct {
	Requests int64            `json:"requests"`
	ByKind   map[string]int64 `json:"by_kind"`   // record, media, other
	ByStatus map[int]int64    `json:"by_status"` // 0: no header was sent
	Faults   map[string]int64 `json:"faults"`    // by kind of fault
	Bytes    int64            `json:"bytes"`     // of bodies
	InFlight int64            `json:"in_flight"`
	Peak     int64            `json:"peak_in_flight"`

	ConnectionsOpened int64 `json:"connections_opened"`
	ConnectionsOpen   int64 `json:"connections_open"`
	ConnectionsPeak   int64 `json:"peak_connections"`

	// Requests that bore the credentials' headers, right ones or not.
	Authorized int64 `json:"authorized"`
	Namespaced int64 `json:"namespaced"`
}

// Entry is one request of the log.
type Entry struct {
	Number     int64     `json:"number"`
	Start      time.Time `json:"start"`
	End        time.Time `json:"end"` // zero while it is being answered
	Kind       string    `json:"kind"`
	Tip        string    `json:"tip"`
	Record     string    `json:"record"` // the record an attachment belongs to
	Path       string    `json:"path"`
	Status     int       `json:"status"`
	Bytes      int64     `json:"bytes"`
	Fault      string    `json:"fault,omitempty"`
	Client     string    `json:"client"` // the User-Agent header
	Remote     string    `json:"remote"`
	Authorized bool      `json:"authorized"` // bore an authorization header
	Namespaced bool      `json:"namespaced"` // bore an en-namespace header
}

// meter counts and logs.
type meter struct {
	logging bool

	mu    sync.Mutex
	last  int64 // number of the newest request; unlike the counts it is never reset
	stats Stats
	hits  map[uint64]int32 // by hash of the tip
	log   []*Entry
}

func newMeter(logging bool) *meter {
	m := &meter{logging: logging}
	m.reset()
	return m
}

func (m *meter) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	open := m.stats
	m.stats = Stats{
		ByKind: map[string]int64{}, ByStatus: map[int]int64{}, Faults: map[string]int64{},
		InFlight: open.InFlight, Peak: open.InFlight,
		ConnectionsOpen: open.ConnectionsOpen, ConnectionsPeak: open.ConnectionsOpen,
	}
	m.hits = map[uint64]int32{}
	m.log = nil
}

// ticket is a request's place in the counts.
type ticket struct {
	number int64 // of all requests, from 1
	fault  string
	entry  *Entry
}

func (m *meter) begin(c call, r *http.Request) *ticket {
	_, authorized := r.Header["Authorization"]
	_, namespaced := r.Header["En-Namespace"]
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.stats
	s.Requests++
	s.ByKind[c.kind]++
	s.InFlight++
	s.Peak = max(s.Peak, s.InFlight)
	s.Authorized += count(authorized)
	s.Namespaced += count(namespaced)
	m.last++
	t := &ticket{number: m.last}
	key := tipKey(c.tip)
	if hits, known := m.hits[key]; known || len(m.hits) < maxCountedTips {
		m.hits[key] = hits + 1
	}
	if m.logging {
		t.entry = &Entry{
			Number: t.number, Start: time.Now(), Kind: c.kind, Tip: c.tip, Record: c.record, Path: r.URL.Path,
			Client: r.UserAgent(), Remote: r.RemoteAddr, Authorized: authorized, Namespaced: namespaced,
		}
		m.log = append(m.log, t.entry)
	}
	return t
}

func (m *meter) end(t *ticket, status int, sent int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.stats
	s.InFlight--
	s.ByStatus[status]++
	s.Bytes += sent
	if t.fault != "" {
		s.Faults[t.fault]++
	}
	if t.entry != nil {
		t.entry.End, t.entry.Status, t.entry.Bytes, t.entry.Fault = time.Now(), status, sent, t.fault
	}
}

// connection is an http.Server's ConnState hook.
func (m *meter) connection(_ net.Conn, state http.ConnState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.stats
	switch state {
	case http.StateNew:
		s.ConnectionsOpened++
		s.ConnectionsOpen++
		s.ConnectionsPeak = max(s.ConnectionsPeak, s.ConnectionsOpen)
	case http.StateClosed, http.StateHijacked:
		s.ConnectionsOpen--
	}
}

func count(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func tipKey(tip string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(tip) {
		h = (h ^ uint64(tip[i])) * 1099511628211
	}
	return h
}

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	s.meter.mu.Lock()
	defer s.meter.mu.Unlock()
	out := s.meter.stats
	out.ByKind, out.ByStatus, out.Faults = maps.Clone(out.ByKind), maps.Clone(out.ByStatus), maps.Clone(out.Faults)
	return out
}

// Hits returns how many requests a tip has had.
func (s *Server) Hits(tip string) int {
	s.meter.mu.Lock()
	defer s.meter.mu.Unlock()
	return int(s.meter.hits[tipKey(tip)])
}

// ResetStats sets all counts to zero and empties the log.
func (s *Server) ResetStats() { s.meter.reset() }

// Log returns the requests so far in the order of their arrival; empty unless
// Options.Log is set.
func (s *Server) Log() []Entry {
	s.meter.mu.Lock()
	defer s.meter.mu.Unlock()
	out := make([]Entry, len(s.meter.log))
	for i, e := range s.meter.log {
		out[i] = *e
	}
	return out
}

// Overlap is a pair of requests for one record, or for media of it, that two
// clients had in flight at the same time.
type Overlap struct{ First, Second Entry }

// Overlaps finds in a log every record at which two clients, told apart by
// client, were at work at once.
func Overlaps(log []Entry, client func(Entry) string) []Overlap {
	byRecord := map[string][]Entry{}
	for _, e := range log {
		if e.Record != "" {
			byRecord[e.Record] = append(byRecord[e.Record], e)
		}
	}
	var found []Overlap
	for _, record := range slices.Sorted(maps.Keys(byRecord)) {
		entries := byRecord[record]
		for i, a := range entries {
			for _, b := range entries[i+1:] {
				if client(a) != client(b) && (a.End.IsZero() || b.Start.Before(a.End)) {
					found = append(found, Overlap{a, b})
				}
			}
		}
	}
	return found
}
