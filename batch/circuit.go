package batch

import (
	"fmt"
	"strings"
	"time"

	"noggin/storage"
)

// The states of the circuit.
const (
	circuitClosed   = "closed"
	circuitOpen     = "open"
	circuitHalfOpen = "half_open"
)

// probeLease is how long a half-open probe may take to report; a run that died
// with one gives its place back after it.
const probeLease = 5 * time.Minute

// requestEnded is how a request ended, for the circuit.
type requestEnded struct {
	generation int64 // of the circuit when the request was admitted
	failed     bool
	unused     bool // it tells nothing: not sent, or broken off by ourselves
}

// The functions below are pure: they know neither database nor clock.

// step advances the circuit by time alone: open becomes half-open when its time
// has come, and probes that never reported are free again.
func (c Circuit) step(s storage.Circuit, now time.Time) (storage.Circuit, []storage.Transition) {
	switch {
	case s.State == circuitOpen && s.OpenUntil != nil && !now.Before(*s.OpenUntil):
		next := s
		next.State, next.Recent, next.OpenUntil = circuitHalfOpen, "", nil
		next.Generation++
		next.ProbesLeased, next.ProbesExpireAt = 0, nil
		return next, []storage.Transition{{From: s.State, To: next.State, Reason: "the open time is over, probing"}}
	case s.State == circuitHalfOpen && s.ProbesExpireAt != nil && now.After(*s.ProbesExpireAt):
		s.ProbesLeased, s.ProbesExpireAt = len(s.Recent), nil
	}
	return s, nil
}

// observe adds requests in the order in which they ended. Those admitted before the
// last change of state count in the totals alone.
func (c Circuit) observe(s storage.Circuit, ended []requestEnded, now time.Time) (storage.Circuit, []storage.Transition) {
	s, transitions := c.step(s, now)
	for _, r := range ended {
		current := r.generation == s.Generation && s.State != circuitOpen
		if r.unused {
			if current && s.State == circuitHalfOpen { // its probe is free again
				s.ProbesLeased = max(s.ProbesLeased-1, len(s.Recent))
			}
			continue
		}
		s.TotalRequests++
		mark := "0"
		if r.failed {
			s.TotalFailures++
			mark = "1"
		}
		if !current {
			continue
		}
		s.Recent += mark
		if extra := len(s.Recent) - c.SampleSize; extra > 0 {
			s.Recent = s.Recent[extra:]
		}
		next, transition := c.judge(s, now)
		if transition != nil {
			transitions = append(transitions, *transition)
		}
		s = next
	}
	return s, transitions
}

// judge decides whether the last request changed the state.
func (c Circuit) judge(s storage.Circuit, now time.Time) (storage.Circuit, *storage.Transition) {
	failures := strings.Count(s.Recent, "1")
	full := len(s.Recent) == c.SampleSize
	switch {
	case s.State == circuitClosed && full && failures*100 >= c.FailureThresholdPercent*c.SampleSize:
		return c.open(s, now, fmt.Sprintf("%d of the last %d requests failed", failures, c.SampleSize))
	case s.State == circuitHalfOpen && failures*100 > c.RecoveryThresholdPercent*c.SampleSize:
		return c.open(s, now, fmt.Sprintf("%d of %d probes failed", failures, len(s.Recent)))
	case s.State == circuitHalfOpen && full:
		t := &storage.Transition{From: s.State, To: circuitClosed, Reason: fmt.Sprintf("%d of %d probes were answered", c.SampleSize-failures, c.SampleSize), FailureRate: failureRate(s)}
		s.State, s.Recent, s.ProbesLeased, s.ProbesExpireAt = circuitClosed, "", 0, nil
		s.Generation++
		return s, t
	}
	return s, nil
}

func (c Circuit) open(s storage.Circuit, now time.Time, reason string) (storage.Circuit, *storage.Transition) {
	t := &storage.Transition{From: s.State, To: circuitOpen, Reason: reason, FailureRate: failureRate(s)}
	until := now.Add(c.OpenDuration)
	s.State, s.OpenUntil, s.ProbesLeased, s.ProbesExpireAt = circuitOpen, &until, 0, nil
	s.Generation++
	return s, t
}

// lease takes one half-open probe, if one is free.
func (c Circuit) lease(s storage.Circuit, now time.Time) (next storage.Circuit, granted bool) {
	if s.State != circuitHalfOpen || s.ProbesLeased >= c.SampleSize {
		return s, false
	}
	expire := now.Add(probeLease)
	s.ProbesLeased++
	s.ProbesExpireAt = &expire
	return s, true
}

// failureRate is the percentage of the recent requests that failed.
func failureRate(s storage.Circuit) float64 {
	if s.Recent == "" {
		return 0
	}
	return 100 * float64(strings.Count(s.Recent, "1")) / float64(len(s.Recent))
}

// resetCircuit closes the circuit by an operator's will. Requests under way count
// in the totals alone.
func resetCircuit(s storage.Circuit, reason string) (storage.Circuit, []storage.Transition) {
	var transitions []storage.Transition
	if s.State != circuitClosed {
		transitions = []storage.Transition{{From: s.State, To: circuitClosed, Reason: reason, FailureRate: failureRate(s)}}
	}
	s.State, s.Recent, s.OpenUntil, s.ProbesLeased, s.ProbesExpireAt = circuitClosed, "", nil, 0, nil
	s.Generation++
	return s, transitions
}
