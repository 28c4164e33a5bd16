package apitest

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Fault says what goes wrong, for which requests, and when. A request meets the fault
// when it meets every condition that is set. Of several faults only the first counts.
type Fault struct {
	Kind string // one of FaultKinds; "" with a Status is the kind status

	Status     int           // for kind status (and redirects: default 302)
	RetryAfter string        // the header's value; "date+30s": an HTTP date that far ahead
	Location   string        // for redirect: another host's base URL; "": the same host
	Field      string        // for set, delete
	Value      string        // for set (JSON), hostile-id, hostile-media, body, cut-close; for edit: field, add, replace, remove
	Size       int64         // bytes for huge, gzip-bomb; of a drip's single piece
	Delay      time.Duration // wait before the answer
	Pause      time.Duration // between the pieces of a drip; default 1s
	Keep       float64       // share of the body that a cut still sends; default one half

	Held <-chan struct{} // after Delay, wait until it is closed

	On    string   // OnRecord, OnMedia, OnTip, OnSID; "": the default of the kind
	Tips  []string // records (with their media and versions), attachments, entities
	Share float64  // of requests, or of tips with ByTip; 0: all of them
	ByTip bool     // draw once for each tip, not for each request

	FirstHits int           // only the first requests for each tip that meet all else
	From      int64         // from this request on, counted since the fault was set
	Until     int64         // up to this request, itself included
	After     time.Duration // begins so long after it was set
	For       time.Duration // and lasts so long
	OverRate  int           // only the requests beyond so many in one second
}

// normal sets the defaults, or says what is wrong.
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
	if f.Kind == "edit" && f.Value != "" && !slices.Contains(editKinds, f.Value) {
		return f, fmt.Errorf("no edit %q: there are %v", f.Value, editKinds)
	}
	if f.On == "" {
		f.On = e.on
	}
	if kinds := []string{"", OnRecord, OnMedia, OnTip, OnSID}; !slices.Contains(kinds, f.On) {
		return f, fmt.Errorf("no requests of kind %q: there are %q", f.On, kinds)
	}
	if f.Keep == 0 {
		f.Keep = 0.5
	}
	return f, nil
}

// liveFault is a fault that is set, with its counts.
type liveFault struct {
	Fault
	id    int
	since time.Time
	first int64 // number of the last request before it was set

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

// AddFault adds a fault behind the others and returns its number. It panics on a wrong
// fault, which is a mistake in the test.
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

// ClearFaults removes all faults.
func (s *Server) ClearFaults() { s.faults.remove(func(*liveFault) bool { return true }) }

// RemoveFault removes one fault.
func (s *Server) RemoveFault(id int) {
	s.faults.remove(func(f *liveFault) bool { return f.id == id })
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

// match returns the fault that a request meets, or nil.
func (b *faultBoard) match(c call, t *ticket) *Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = max(b.last, t.number)
	now := time.Now()
	for _, f := range b.faults {
		if f.meets(c) && f.due(t, now) && f.unlucky(b.seed, c, t) && f.overRate(now) && f.firstHits(c) {
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

// overRate counts the requests that meet all else and lets the first of each second
// pass.
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
