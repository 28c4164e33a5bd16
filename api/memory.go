package api

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Bounds of a record's answer beside its bytes. A few bytes of JSON become a value of
// many, so values are counted while the answer arrives. The API's records have a hundred.
const (
	maxDepth   = 200
	maxValues  = 250_000
	maxStrings = 100_000 // keys too: each may be a reference
)

// measure counts what JSON will become, byte by byte, before any of it becomes values.
// Text that does not begin as an object or a list is not counted.
type measure struct {
	depth, values, strings int
	deepest                int
	begun, json            bool
	inString, escaped      bool
}

func (m *measure) add(p []byte) {
	for _, b := range p {
		switch {
		case !m.begun:
			m.begin(b)
		case !m.json:
			return
		}
		switch {
		case !m.begun:
		case m.escaped:
			m.escaped = false
		case m.inString:
			m.escaped, m.inString = b == '\\', b != '"'
		case b == '"':
			m.inString = true
			m.strings++
		case b == '{' || b == '[':
			m.depth++
			m.deepest = max(m.deepest, m.depth)
			m.values++
		case b == '}' || b == ']':
			m.depth--
		case b == ',':
			m.values++
		}
	}
}

// begin looks for the first byte behind white space and a byte order mark.
func (m *measure) begin(b byte) {
	switch b {
	case ' ', '\t', '\r', '\n', 0xef, 0xbb, 0xbf:
	default:
		m.begun, m.json = true, b == '{' || b == '['
	}
}

// check returns an error once the answer has more than the bounds allow.
func (m *measure) check() error {
	switch {
	case m.deepest > maxDepth:
		return fmt.Errorf("%w: nested more than %d deep", errBroken, maxDepth)
	case m.values > maxValues:
		return fmt.Errorf("%w: more than %d values", errTooLarge, maxValues)
	case m.strings > maxStrings:
		return fmt.Errorf("%w: more than %d texts", errTooLarge, maxStrings)
	}
	return nil
}

// share is how much of an answer may be read with the memory that was set aside.
type share struct {
	bytes           int64
	values, strings int
}

// shares are tried in turn. The first suits nearly every record. An answer that needs more
// is asked for again, with the memory of the next. The last is [Client.most].
var shares = []share{
	{bytes: 512 << 10, values: 10_000, strings: 2_000},
	{bytes: 4 << 20, values: 40_000, strings: 10_000},
}

// most is the share of the largest answer that is taken.
func (c *Client) most() share {
	return share{bytes: c.cfg.MaxPayloadBytes, values: maxValues, strings: maxStrings}
}

// cost is the memory that an answer takes at most, until its record is stored: its
// bytes are there as received, as stored, as values and as parameters of statements.
func (s share) cost() int64 { return 6*s.bytes + 256*int64(s.values) + 2048*int64(s.strings) }

func (s share) holds(n int, m *measure) bool {
	return int64(n) <= s.bytes && m.values <= s.values && m.strings <= s.strings
}

// budget is the memory for all answers that are in flight.
type budget struct {
	size int64
	free *semaphore.Weighted
}

func newBudget(size int64) *budget { return &budget{size: size, free: semaphore.NewWeighted(size)} }

// take waits for the memory of an answer. A very large one gets three quarters of it all:
// it is the only one of its kind, and need not wait for the small ones in hand. Nobody
// waits here who holds a slot of the gate, as those who have memory wait for slots.
func (b *budget) take(ctx context.Context, s share) (*held, error) {
	n := min(s.cost(), b.size/4*3)
	if err := b.free.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return &held{budget: b, size: n}, nil
}

// held is the memory of one answer.
type held struct {
	*budget
	size int64
}

// shrink gives back what the answer does not take after all.
func (h *held) shrink(s share) {
	if n := s.cost(); n < h.size {
		h.free.Release(h.size - n)
		h.size = n
	}
}

func (h *held) release() {
	h.free.Release(h.size)
	h.size = 0
}

type holderKey struct{}

// holder keeps the memory of answers until their owner is done with them.
type holder struct {
	mu   sync.Mutex
	held []*held
}

// Holding returns a context in which the memory of answers counts as taken until release
// is called. In other contexts it does until [Client.Record] returns.
func Holding(ctx context.Context) (holding context.Context, release func()) {
	h := &holder{}
	return context.WithValue(ctx, holderKey{}, h), func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, held := range h.held {
			held.release()
		}
		h.held = nil
	}
}

// keep leaves the memory with the holder of ctx, or gives it back.
func keep(ctx context.Context, taken *held) {
	h, ok := ctx.Value(holderKey{}).(*holder)
	if !ok {
		taken.release()
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = append(h.held, taken)
}
