package gate

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"noggin/api"
)

func TestWhoseFaultAFailureIs(t *testing.T) {
	t.Parallel()
	failedAt := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	before, after := failedAt.Add(-time.Second), failedAt.Add(time.Second)
	says := func(s said, asked time.Time) testimony { return testimony{asked: asked, said: s} }
	for name, test := range map[string]struct {
		facts facts
		want  verdict
	}{
		"own fault":                                        {facts{class: NoFailure, witness: says(answered, after)}, uncounted},
		"nobody asked yet":                                 {facts{class: Passing}, waits},
		"the witness spoke before it failed":               {facts{class: Passing, witness: says(answered, before)}, waits},
		"the witness spoke in the same instant":            {facts{class: Absent, everyForm: true, witness: says(answered, failedAt)}, waits},
		"the API asked for a pause":                        {facts{class: Passing, witness: says(silent, after)}, waits},
		"500 and the witness is answered":                  {facts{class: Passing, witness: says(answered, after)}, counts},
		"500 and the witness fails":                        {facts{class: Passing, witness: says(failed, after)}, uncounted},
		"500 and the token expires":                        {facts{class: Passing, witness: says(refused, after)}, uncounted},
		"400 and the witness is answered":                  {facts{class: Lasting, witness: says(answered, after)}, counts},
		"404 under every form":                             {facts{class: Absent, everyForm: true, witness: says(answered, after)}, givenUp},
		"404 under its form alone":                         {facts{class: Absent, witness: says(answered, after)}, counts},
		"404 with a wrong base_url":                        {facts{class: Absent, everyForm: true, witness: says(failed, after)}, uncounted},
		"its own 401":                                      {facts{class: Unauthorized, witness: says(answered, after)}, counts},
		"its own 403":                                      {facts{class: Forbidden, witness: says(answered, after)}, counts},
		"401 and so does the witness":                      {facts{class: Unauthorized, witness: says(refused, after)}, credentials},
		"403 and the witness fails":                        {facts{class: Forbidden, witness: says(failed, after), otherwise: true}, credentials},
		"401 just after a witness was answered":            {facts{class: Unauthorized, witness: says(answered, before)}, waits},
		"empty mirror: 500 beside good answers":            {facts{class: Passing, witness: says(nobody, after), answered: true}, counts},
		"empty mirror: 500 alone":                          {facts{class: Passing, witness: says(nobody, after)}, uncounted},
		"empty mirror: 404 under every form":               {facts{class: Absent, everyForm: true, witness: says(nobody, after), answered: true}, givenUp},
		"empty mirror: 404 and nothing else":               {facts{class: Absent, everyForm: true, witness: says(nobody, after)}, uncounted},
		"empty mirror: the attachments of one record fail": {facts{class: Passing, witness: says(nobody, after), alone: true}, counts},
		"empty mirror: 401":                                {facts{class: Unauthorized, witness: says(nobody, after), answered: true, otherwise: true}, credentials},
		"empty mirror: only 403s":                          {facts{class: Forbidden, witness: says(nobody, after)}, credentials},
		"all are gone: 404 of a complete record":           {facts{class: Absent, kept: true, witness: says(gone, after)}, givenUp},
		"all are gone: 403 of a complete record":           {facts{class: Forbidden, kept: true, witness: says(gone, after)}, counts},
		"all are gone: 500 of a complete record":           {facts{class: Passing, kept: true, witness: says(gone, after)}, uncounted},
		"all are gone: 404 of a new record":                {facts{class: Absent, everyForm: true, witness: says(gone, after)}, uncounted},
		"all are gone: 401":                                {facts{class: Unauthorized, kept: true, witness: says(gone, after)}, uncounted},
		"empty mirror: 403 beside good answers":            {facts{class: Forbidden, witness: says(nobody, after), answered: true, otherwise: true}, counts},
	} {
		test.facts.ended = failedAt
		if got := judge(test.facts); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

func TestTheClassOfAFailure(t *testing.T) {
	t.Parallel()
	for want, failures := range map[Class][]error{
		NoFailure:    {&api.Error{Class: api.ClassOwn}, &api.Error{Class: api.ClassCancelled}, &api.Error{Class: api.ClassRateLimited, Status: 429}},
		Passing:      {&api.Error{Class: api.ClassTransient, Status: 503}, &api.Error{Class: api.ClassBroken}, errors.New("the attachment is not whole")},
		Lasting:      {&api.Error{Class: api.ClassPermanent, Status: 400}, &api.Error{Class: api.ClassPermanent}},
		Absent:       {&api.Error{Class: api.ClassPermanent, Status: 404}, &api.Error{Class: api.ClassPermanent, Status: 410}},
		Unauthorized: {fmt.Errorf("wrapped: %w", &api.Error{Class: api.ClassCredentials, Status: 401})},
		Forbidden:    {&api.Error{Class: api.ClassForbidden, Status: 403}},
	} {
		for _, err := range failures {
			if got := ClassOf(err); got != want {
				t.Errorf("%+v: class %d, want %d", err, got, want)
			}
		}
	}
}

func TestTheWitnessIsAskedAtMostEveryThirtySeconds(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	w := &witness{now: func() time.Time { return now }, subjects: map[string]*subject{}}
	w.subject("LCD").last = testimony{asked: now, said: answered}
	now = now.Add(witnessEvery - time.Second)
	if wait := w.wait("LCD"); wait != time.Second {
		t.Errorf("it may be asked in %s", wait)
	}
	if got := w.ask(context.Background(), "LCD"); got.said != answered { // it would panic if it asked
		t.Errorf("it said %d", got.said)
	}
	if wait := w.wait("SO"); wait != 0 {
		t.Errorf("the witness of another form may be asked in %s", wait)
	}
	now = now.Add(time.Second)
	if wait := w.wait("LCD"); wait != 0 {
		t.Errorf("it may be asked in %s", wait)
	}
}
