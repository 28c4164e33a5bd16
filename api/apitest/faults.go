package apitest

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Fault says what goes wrong, for which requests, and when. Every condition
// that is set must hold; of several faults that match, the first counts.
type Fault struct {
	Kind string `json:"kind,omitempty"` // one of FaultKinds; may be left out where Status is set

	Status     int           `json:"status,omitempty"`      // for kind status (and redirects: default 302)
	RetryAfter string        `json:"retry_after,omitempty"` // the header as it is; "date+30s": an HTTP date that far ahead
	Location   string        `json:"location,omitempty"`    // for redirect: another host's base URL; "": the same host
	Field      string        `json:"field,omitempty"`       // for set, delete
	Value      string        `json:"value,omitempty"`       // for set (JSON), hostile-id, hostile-media, body
	Size       int64         `json:"size,omitempty"`        // bytes for huge, gzip-bomb; of a drip's single piece
	Delay      time.Duration `json:"delay_ns,omitempty"`    // before anything else happens
	Pause      time.Duration `json:"pause_ns,omitempty"`    // between the pieces of a drip; default 1s
	Keep       float64       `json:"keep,omitempty"`        // share of the body that cut ones still send; default one half

	On    string   `json:"on,omitempty"`     // OnRecord, OnMedia; "": what the kind is made for
	Tips  []string `json:"tip,omitempty"`    // records (with all their media) or single attachments
	Share float64  `json:"share,omitempty"`  // of requests, or of tips with ByTip; 0: all of them
	ByTip bool     `json:"by_tip,omitempty"` // throw the dice once for each tip, not for each request

	FirstHits int           `json:"first_hits,omitempty"` // only the first so many requests of each tip that meet all else
	From      int64         `json:"from,omitempty"`       // only from this request on, counted since the fault was set
	Until     int64         `json:"until,omitempty"`      // only up to this one, itself included
	After     time.Duration `json:"after_ns,omitempty"`   // only when it has been set this long
	For       time.Duration `json:"for_ns,omitempty"`     // then for this long
	OverRate  int           `json:"over_rate,omitempty"`  // only requests beyond so many in one second
}

// normal fills in what is left out, or says what is wrong.
func (f Fault) normal() (Fault, error) {
	if f.Kind == "" && f.Status != 0 {
		f.Kind = "status"
	}
	e, ok := effects[f.Kind]
	if !ok {
		return f, fmt.Errorf("no fault %q: there are %v", f.Kind, FaultKinds())
	}
	if f.Kind == "status" && (f.Status < 200 || f.Status > 999) {
		return f, fmt.Errorf("fault status needs a status, not %d", f.Status)
	}
	if f.On == "" {
		f.On = e.on
	}
	if f.Keep == 0 {
		f.Keep = 0.5
	}
	return f, nil
}

// liveFault is a fault that is set.
type liveFault struct {
	Fault
	id    int
	since time.Time
	first int64 // number of the last request before it was set
	hits  int64

	byTip  map[uint64]int // for FirstHits: hits by hash of the tip
	second time.Time      // for OverRate: the second being counted
	seen   int
}

// faultBoard holds the faults of a server.
type faultBoard struct {
	seed uint64

	mu     sync.Mutex
	faults []*liveFault
	nextID int
	last   int64 // number of the newest request
}

func newFaultBoard(seed uint64) *faultBoard { return &faultBoard{seed: seed} }

// AddFault sets a fault behind those already set and returns its number. It
// panics on a fault that cannot be, which is a mistake in the test.
func (s *Server) AddFault(f Fault) int {
	id, err := s.faults.add(f)
	if err != nil {
		panic("apitest: " + err.Error())
	}
	return id
}

// SetFaults replaces all faults.
func (s *Server) SetFaults(faults ...Fault) {
	s.ClearFaults()
	for _, f := range faults {
		s.AddFault(f)
	}
}

// ClearFaults takes all faults away.
func (s *Server) ClearFaults() { s.faults.remove(func(*liveFault) bool { return true }) }

// RemoveFault takes one fault away.
func (s *Server) RemoveFault(id int) {
	s.faults.remove(func(f *liveFault) bool { return f.id == id })
}

// FaultHits returns how many requests a fault has met.
func (s *Server) FaultHits(id int) int64 {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	for _, f := range s.faults.faults {
		if f.id == id {
			return f.hits
		}
	}
	return 0
}

func (b *faultBoard) add(f Fault) (int, error) {
	f, err := f.normal()
	if err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nextID++
	b.faults = append(b.faults, &liveFault{Fault: f, id: b.nextID, since: time.Now(), first: b.last, byTip: map[uint64]int{}})
	return b.nextID, nil
}

func (b *faultBoard) remove(which func(*liveFault) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = slices.DeleteFunc(b.faults, which)
}

// match returns the fault a request meets, or nil.
func (b *faultBoard) match(c call, t *ticket) *Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = max(b.last, t.number)
	now := time.Now()
	for _, f := range b.faults {
		if f.meets(c) && f.due(t, now) && f.unlucky(b.seed, c, t) && f.overRate(now) && f.firstHits(c) {
			f.hits++
			return &f.Fault
		}
	}
	return nil
}

func (f *liveFault) meets(c call) bool {
	if f.On != "" && f.On != c.kind {
		return false
	}
	return len(f.Tips) == 0 || slices.Contains(f.Tips, c.tip) || c.record != "" && slices.Contains(f.Tips, c.record)
}

func (f *liveFault) due(t *ticket, now time.Time) bool {
	number, age := t.number-f.first, now.Sub(f.since)
	return number >= f.From && (f.Until == 0 || number <= f.Until) &&
		age >= f.After && (f.For == 0 || age < f.After+f.For)
}

func (f *liveFault) unlucky(seed uint64, c call, t *ticket) bool {
	if f.Share == 0 {
		return true
	}
	about := uint64(t.number)
	if f.ByTip {
		about = tipKey(c.tip)
	}
	return fraction(mix(seed, drawFault, uint64(f.id), about)) < f.Share
}

// overRate counts the requests that meet all else, and lets the first ones of
// each second pass.
func (f *liveFault) overRate(now time.Time) bool {
	if f.OverRate == 0 {
		return true
	}
	if now.Sub(f.second) >= time.Second {
		f.second, f.seen = now, 0
	}
	f.seen++
	return f.seen > f.OverRate
}

func (f *liveFault) firstHits(c call) bool {
	if f.FirstHits == 0 {
		return true
	}
	key := tipKey(c.tip)
	f.byTip[key]++
	return f.byTip[key] <= f.FirstHits
}
