package process

import (
	"testing"
	"time"

	"noggin/api"
	"noggin/batch/gate"
	"noggin/storage"
)

// Of the attachments that fail, one stands for all: rejected credentials are told, and what
// may pass takes its time.
func TestTheGravestFailureOfAnAttachmentStandsForTheRecord(t *testing.T) {
	t.Parallel()
	began := time.Now()
	failure := func(class api.Class, status int, after time.Duration) error {
		return &api.Error{Class: class, Status: status, Ended: began.Add(after)}
	}
	order := []struct {
		class  api.Class
		status int
		want   gate.Class
	}{
		{api.ClassPermanent, 400, gate.Lasting},
		{api.ClassTransient, 503, gate.Passing},
		{api.ClassForbidden, 403, gate.Forbidden},
		{api.ClassCredentials, 401, gate.Unauthorized},
	}
	for i, less := range order {
		for _, more := range order[i:] {
			one, other := failure(less.class, less.status, time.Minute), failure(more.class, more.status, time.Second)
			for _, errs := range [][]error{{one, other}, {other, one}} {
				w := &work{}
				for _, err := range errs {
					w.attachmentFailed(err)
				}
				if w.failed.Class != more.want || w.failed.Subject != storage.SubjectMedia || !w.failed.Ended.Equal(began.Add(time.Minute)) {
					t.Errorf("%d and %d: %+v", less.status, more.status, w.failed)
				}
			}
		}
	}
	w := &work{}
	if w.attachmentFailed(failure(api.ClassPermanent, 404, 0)); w.failed.Class != gate.Passing {
		t.Errorf("an attachment that is not there yet: %+v", w.failed)
	}
}
