package apitest

import (
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Stats are a server's counts since its start or the last ResetStats.
type Stats struct {
	Requests int64
	ByKind   map[string]int64 // record, media, tip, sid, other
	ByStatus map[int]int64    // 0: no header was sent
	Faults   map[string]int64 // by kind of fault
	Bytes    int64            // of bodies
	InFlight int64
	Peak     int64

	ConnectionsOpened int64
	ConnectionsOpen   int64
	ConnectionsPeak   int64

	// Requests with an authorization or en-namespace header, right or wrong.
	Authorized int64
	Namespaced int64
}

// Entry is one request of the log.
type Entry struct {
	Number     int64
	Start      time.Time
	End        time.Time // zero while it is being answered
	Kind       string
	Tip        string
	Record     string // the record to which the tip belongs
	Path       string
	Status     int
	Bytes      int64
	Fault      string
	Client     string // the User-Agent header
	Remote     string
	Authorized bool // had an authorization header
	Namespaced bool // had an en-namespace header
}

// meter counts and logs requests.
type meter struct {
	logging bool

	mu    sync.Mutex
	last  int64 // number of the newest request; a reset keeps it
	stats Stats
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

// connection counts connections; it is the http.Server's ConnState.
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

// ResetStats sets all counts to zero and empties the log.
func (s *Server) ResetStats() { s.meter.reset() }

// Log returns the requests so far in the order of their arrival. It is empty unless
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

// Overlap is a pair of requests for one record or its media that two clients had in
// flight at the same time.
type Overlap struct{ First, Second Entry }

// Overlaps finds every pair of requests for the same record that two clients had in
// flight at the same time. client tells one client from another.
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
