package gate

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"noggin/storage"
)

const (
	// probeLease is how long other runs wait for a probe of a half-open circuit. After it
	// the probes of a run that died are free again. It is longer than the default of [api]
	// timeout; one that takes longer still counts.
	probeLease = 90 * time.Second
	// questionLease is how long a run may take to ask the witness. After it another run
	// may ask.
	questionLease = 30 * time.Second
	// lately is how long the last answer to another host tells that the API answers.
	lately = 30 * time.Second
	// firstOutcomesPerSample makes the ring of first outcomes larger than that of
	// requests: bad records that follow each other in the queue must not fill half of it.
	firstOutcomesPerSample = 3
)

// requestEnded is how a request ended, for the circuit.
type requestEnded struct {
	generation int64 // of the circuit when the request was admitted
	failed     bool
	unused     bool // not sent, or broken off by us: it says nothing of the API
	first      bool // the first in this run of a record that had not failed before
}

// asker is the run that changes the circuit.
type asker struct {
	run     int64
	host    string
	subject string // what most of its requests failed for
	may     bool   // it may ask the witness for that now
}

// The functions below know neither the database nor the clock.

// step applies what time alone changes: an open circuit becomes half-open when its time
// is over, and probes whose lease ended are free again.
func (c Circuit) step(s storage.Circuit, now time.Time) (storage.Circuit, []storage.Transition) {
	switch {
	case s.State == storage.CircuitOpen && s.OpenUntil != nil && !now.Before(*s.OpenUntil):
		next := s
		next.State, next.Recent, next.OpenUntil = storage.CircuitHalfOpen, "", nil
		next.Generation++
		next.ProbesLeased, next.ProbesExpireAt, next.Probing = 0, nil, ""
		return next, []storage.Transition{{From: s.State, To: next.State, Reason: "the open time is over, probing"}}
	case s.State == storage.CircuitHalfOpen && s.ProbesExpireAt != nil && now.After(*s.ProbesExpireAt):
		s.ProbesLeased, s.ProbesExpireAt = len(s.Recent), nil
	}
	return s, nil
}

// observe adds requests in the order in which they ended. Requests admitted before the
// last change of state count only in the totals.
func (c Circuit) observe(s storage.Circuit, ended []requestEnded, now time.Time, by asker) (storage.Circuit, []storage.Transition) {
	s, transitions := c.step(s, now)
	wasAnswered := false
	for _, r := range ended {
		current := r.generation == s.Generation && s.State != storage.CircuitOpen
		if r.unused {
			if current && s.State == storage.CircuitHalfOpen { // its probe is free again
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
		wasAnswered = wasAnswered || !r.failed
		if !current {
			continue
		}
		s.Recent = ring(s.Recent, mark, c.SampleSize)
		if s.State == storage.CircuitHalfOpen {
			s.ProbesLeased = max(s.ProbesLeased, len(s.Recent)) // its lease may have ended before it
		}
		if r.first && s.State == storage.CircuitClosed {
			s.FirstOutcomes = ring(s.FirstOutcomes, mark, c.SampleSize*firstOutcomesPerSample)
		}
		next, transition := c.decide(s, now, by)
		if transition != nil {
			transitions = append(transitions, *transition)
		}
		s = next
	}
	if wasAnswered {
		s.Answered = maps.Clone(s.Answered)
		if s.Answered == nil {
			s.Answered = storage.HostTimes{}
		}
		s.Answered[by.host] = now
	}
	return s, transitions
}

// ring adds a mark to the last of them.
func ring(marks, mark string, size int) string {
	marks += mark
	return marks[max(0, len(marks)-size):]
}

// decide changes the state if the last request decides it. Requests that fail too often
// are only the occasion to ask the witness. Too many records that fail at their first
// request open the circuit whatever the witness says: an API that serves half of its
// records is not available.
func (c Circuit) decide(s storage.Circuit, now time.Time, by asker) (storage.Circuit, *storage.Transition) {
	failures := strings.Count(s.Recent, "1")
	full := len(s.Recent) == c.SampleSize
	switch {
	case s.State == storage.CircuitClosed && c.suspicious(s):
		n, bad := len(s.FirstOutcomes), strings.Count(s.FirstOutcomes, "1")
		if n == c.SampleSize*firstOutcomesPerSample && bad*100 >= c.FailureThresholdPercent*n {
			return c.open(s, now, by.subject, fmt.Sprintf("%d of the last %d records failed at their first request", bad, n))
		}
		return c.question(s, now, by), nil
	case s.State == storage.CircuitHalfOpen && failures*100 > c.RecoveryThresholdPercent*c.SampleSize:
		return c.open(s, now, s.Subject, fmt.Sprintf("%d of %d probes failed", failures, len(s.Recent)))
	case s.State == storage.CircuitHalfOpen && full:
		return c.close(s, fmt.Sprintf("%d of %d probes were answered", c.SampleSize-failures, c.SampleSize))
	}
	return s, nil
}

// suspicious tells whether so many requests failed that the witness must be asked.
func (c Circuit) suspicious(s storage.Circuit) bool {
	return len(s.Recent) == c.SampleSize && strings.Count(s.Recent, "1")*100 >= c.FailureThresholdPercent*c.SampleSize
}

// question leases the question to the run, if the witness must be asked and nobody asks.
// A half-open circuit waits for it, at first and while no probe is under way.
func (c Circuit) question(s storage.Circuit, now time.Time, by asker) storage.Circuit {
	needed := s.State == storage.CircuitClosed && c.suspicious(s) ||
		s.State == storage.CircuitHalfOpen && (s.Probing == "" || s.Probing == storage.ProbingNew && s.ProbesLeased == len(s.Recent))
	switch {
	case asked(s, now), needed && !by.may:
		return s
	case !needed:
		s.QuestionRun, s.QuestionUntil = nil, nil // the run died, and the answers to others decided
		return s
	}
	until := now.Add(questionLease)
	s.QuestionRun, s.QuestionUntil = &by.run, &until
	return s
}

// asked tells whether a run asks the witness. A lease that is too long is one of before
// the server's clock was set back.
func asked(s storage.Circuit, now time.Time) bool {
	return s.QuestionUntil != nil && s.QuestionUntil.After(now) && s.QuestionUntil.Sub(now) <= questionLease
}

// report is what a run found out for the circuit.
type report struct {
	generation int64 // of the circuit when it was asked
	subject    string
	testimony  testimony
	fresh      int // records that it may still send probes for
}

// testify takes the report of the run that has the lease of the question. A report that
// comes too late changes nothing. cutOff says that the network of the host is broken, not
// the API: such a host has no vote.
func (c Circuit) testify(s storage.Circuit, r report, now time.Time, by asker) (next storage.Circuit, transitions []storage.Transition, cutOff bool) {
	if s.Generation != r.generation || s.QuestionRun == nil || *s.QuestionRun != by.run {
		return s, nil, false
	}
	s.QuestionRun, s.QuestionUntil = nil, nil
	var transition *storage.Transition
	failedBadly := r.testimony.said == failed
	switch {
	case r.testimony.said == silent:
	case failedBadly && answersOthers(s, now, by.host):
		s.Recent, cutOff = "", true
	case s.State == storage.CircuitHalfOpen && failedBadly:
		s, transition = c.open(s, now, r.subject, "the witness for "+subjectText(r.subject)+" failed: "+r.testimony.how)
	case s.State == storage.CircuitHalfOpen && r.testimony.said == nobody:
		s.Probing = storage.ProbingAny
	case s.State == storage.CircuitHalfOpen && r.fresh < c.SampleSize-len(s.Recent):
		s, transition = c.close(s, "the witness for "+subjectText(r.subject)+" was answered")
	case s.State == storage.CircuitHalfOpen:
		s.Probing = storage.ProbingNew
	case s.State == storage.CircuitClosed && (failedBadly || r.testimony.said == nobody):
		reason := fmt.Sprintf("%d of the last %d requests failed", strings.Count(s.Recent, "1"), c.SampleSize)
		if failedBadly {
			reason += ", and so did the witness for " + subjectText(r.subject) + ": " + r.testimony.how
		}
		s, transition = c.open(s, now, r.subject, reason)
	case s.State == storage.CircuitClosed:
		s.Recent = ""
	}
	if transition != nil {
		transitions = []storage.Transition{*transition}
	}
	return s, transitions, cutOff
}

// answersOthers tells whether another host was answered lately, and later than this one.
func answersOthers(s storage.Circuit, now time.Time, host string) bool {
	for other, at := range s.Answered {
		if other != host && now.Sub(at) <= lately && at.After(s.Answered[host]) {
			return true
		}
	}
	return false
}

// subjectText names what there is a witness for.
func subjectText(subject string) string {
	if subject == storage.SubjectMedia {
		return subject
	}
	return "records of form " + subject
}

func (c Circuit) open(s storage.Circuit, now time.Time, subject, reason string) (storage.Circuit, *storage.Transition) {
	t := &storage.Transition{From: s.State, To: storage.CircuitOpen, Reason: reason, FailureRate: failureRate(s)}
	until := now.Add(c.OpenDuration)
	s.State, s.OpenUntil, s.ProbesLeased, s.ProbesExpireAt = storage.CircuitOpen, &until, 0, nil
	s.Subject, s.FirstOutcomes, s.QuestionRun, s.QuestionUntil = subject, "", nil, nil
	s.Generation++
	return s, t
}

func (c Circuit) close(s storage.Circuit, reason string) (storage.Circuit, *storage.Transition) {
	t := &storage.Transition{From: s.State, To: storage.CircuitClosed, Reason: reason, FailureRate: failureRate(s)}
	return closed(s), t
}

// closed returns a closed circuit that begins anew.
func closed(s storage.Circuit) storage.Circuit {
	s.State, s.Recent, s.OpenUntil, s.ProbesLeased, s.ProbesExpireAt = storage.CircuitClosed, "", nil, 0, nil
	s.FirstOutcomes, s.Probing, s.QuestionRun, s.QuestionUntil = "", "", nil, nil
	s.Generation++
	return s
}

// lease takes a probe of a half-open circuit, if one is free for the record. fresh says
// that the record has not failed before.
func (c Circuit) lease(s storage.Circuit, now time.Time, fresh bool) (next storage.Circuit, granted bool) {
	may := s.Probing == storage.ProbingAny || s.Probing == storage.ProbingNew && fresh
	if s.State != storage.CircuitHalfOpen || !may || s.ProbesLeased >= c.SampleSize {
		return s, false
	}
	expire := now.Add(probeLease)
	s.ProbesLeased++
	s.ProbesExpireAt = &expire
	return s, true
}

// failureRate returns the percentage of the recent requests that failed.
func failureRate(s storage.Circuit) float64 {
	if s.Recent == "" {
		return 0
	}
	return 100 * float64(strings.Count(s.Recent, "1")) / float64(len(s.Recent))
}

// resetCircuit closes the circuit for an operator. Requests in flight count only in the
// totals.
func resetCircuit(s storage.Circuit, reason string) (storage.Circuit, []storage.Transition) {
	var transitions []storage.Transition
	if s.State != storage.CircuitClosed {
		transitions = []storage.Transition{{From: s.State, To: storage.CircuitClosed, Reason: reason, FailureRate: failureRate(s)}}
	}
	return closed(s), transitions
}
