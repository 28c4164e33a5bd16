package process_test

import (
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/process"
)

func TestARecordWhoseRowsAreDeletedUnderTheRunIsDoneAgain(t *testing.T) {
	t.Parallel()
	for _, statement := range []string{`DELETE FROM noggin_schema.attachments`, `TRUNCATE noggin_schema.attachments CASCADE`} {
		t.Run(statement, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewQueue(t, batchtest.PhotoWorld(10, 2))
			held := make(chan struct{})
			m.Server.AddFault(apitest.Fault{Kind: "delay", On: apitest.OnMedia, Held: held})
			acted := during(m, func() {
				defer close(held)
				for m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'api_success'`) == "0" {
					time.Sleep(5 * time.Millisecond)
				}
				m.Execute(statement)
			})
			first := m.MustRun(process.Options{Batch: 10})
			<-acted
			if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'complete' AND total_attachments <> 2`); n != "0" {
				t.Errorf("%s records are complete without their attachments: %+v", n, first)
			}
			m.MustRun(process.Options{UntilEmpty: true})
			if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'complete' AND total_attachments = 2`); n != "10" {
				t.Errorf("%s of 10 records are complete in the end", n)
			}
			m.CheckFiles()
		})
	}
}
