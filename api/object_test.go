package api

import (
	"bytes"
	"errors"
	"testing"

	"noggin/api/apitest"
)

func TestAnObjectOfAnyTypeIsFetchedByItsTip(t *testing.T) {
	t.Parallel()
	server := apitest.Start(t, apitest.Options{Records: 1, Log: true})
	for _, base := range []string{server.URL(), server.URL() + "/rest/object/"} {
		c := simulate(t, server, nil, func(cfg *Config) { cfg.BaseURL = base })
		record := server.Record(0)
		if got, err := c.Object(t.Context(), record.Tip); err != nil || !bytes.Equal(got, server.Payload(record.Tip)) {
			t.Errorf("%s: %d bytes, %v", base, len(got), err)
		}
		var failed *Error
		if _, err := c.Object(t.Context(), "0000"); !errors.As(err, &failed) || failed.Status != 404 {
			t.Errorf("%s: an object that is not there: %v", base, err)
		}
		if _, err := c.Object(t.Context(), "../object"); !errors.As(err, &failed) || failed.Kind != KindBadReference {
			t.Errorf("%s: not a tip: %v", base, err)
		}
	}
	for _, e := range server.Log() {
		if e.Kind != apitest.OnTip || e.Path != "/rest/tip/"+e.Tip {
			t.Errorf("a request for %s was sent", e.Path)
		}
	}
}
