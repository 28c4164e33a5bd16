// Package gate stands before every request of a run, and judges the failures of records.
//
// Before each request stand the circuit, a pause (429) and the rate limit, which all
// runs of all hosts share through the database:
//
//	        too many of the last requests failed, and so did the witness;
//	        or too many records failed at their first request
//	closed ──────────────────────────────────────────────────▶ open
//	   ▲                                                       │  ▲
//	   │ the witness was answered, and   the open time is over ▼  │ the witness or too
//	   └─ enough probes or no new records ──────────── half-open ─┘ many probes failed
//
// One fact tells whose fault a failure is: the witness, a request for something that is
// known to be there. A failure is written uncounted and held. The witness of what failed
// (a form, or media) is asked, and judge decides by what it said:
//
//	failure ─▶ hold ─▶ ask the witness ─┬─ answered ─▶ counts, or given up (404 under every form,
//	                                    │                and again after the witness)
//	                                    ├─ failed ───▶ uncounted; 401 and 403: the credentials are rejected
//	                                    ├─ gone ─────▶ all known records of the form are gone, and one of another
//	                                    │                form was served: those that were complete are missing
//	                                    └─ nobody ───▶ counts if the run got a good answer of that kind
//
// Invariants:
//
//   - A failure counts against a record only when the witness was answered after it.
//     Only where nothing is known to be there, an answer in the same run is enough.
//   - A run asks each witness at most every 30 seconds, and one run alone asks it for
//     the circuit, outside of any transaction.
//   - No lock on the circuit is held while a program has to act: a host that hangs keeps
//     no other from its steps.
//   - After a rejected token or an open circuit no request goes out.
//   - An answer that arrives slowly keeps no other request waiting, as long as there are
//     no more than [processing] concurrency of them.
//   - A probe of a half-open circuit is taken last, when the request may go out otherwise.
//   - The circuit's steps and the judge know neither the database nor the network nor the
//     clock.
//   - The gate knows of the run only what [Run] hands in.
//
// Where to look: seam.go what a run hands in and calls, gate.go the order in which a
// request waits, breaker.go a run's view of the circuit, circuit.go its steps, judge.go
// whose fault a failure is, witness.go and failures.go what it is judged by, errors.go why a
// run ends.
package gate
