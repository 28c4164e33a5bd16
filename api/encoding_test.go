package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAContentEncodingThatChangesNothingRefusesNothing(t *testing.T) {
	for _, encoding := range []string{"aws-chunked", "none", "binary", "UTF-8", "gzip", "x-gzip", "identity", "gzip, aws-chunked", "br", "made-up"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", encoding)
			if strings.Contains(r.URL.Path, "/file") {
				_, _ = io.WriteString(w, "picture")
				return
			}
			_, _ = io.WriteString(w, testRecord)
		}))
		defer server.Close()
		c := newTestClient(t, server.URL, nil)
		var got bytes.Buffer
		m, err := c.Media(t.Context(), testRef, bufferSink(&got))
		unknown := map[string]string{"br": "br", "made-up": "made-up"}[encoding]
		if err != nil || got.String() != "picture" || m.Encoding != unknown || !m.LengthKnown {
			t.Errorf("%s: %q, %+v, %v", encoding, got.String(), m, err)
		}
		if data, err := c.Record(t.Context(), "form", testTip); err != nil || string(data) != testRecord {
			t.Errorf("%s: record %q, %v", encoding, data, err)
		}
	}
}

func TestAByteOrderMarkBeforeARecordIsSkipped(t *testing.T) {
	for _, contentType := range []string{"application/json", "text/html"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = io.WriteString(w, "\xef\xbb\xbf"+testRecord)
		}))
		defer server.Close()
		data, err := newTestClient(t, server.URL, nil).Record(t.Context(), "form", testTip)
		if err != nil || string(data) != "\xef\xbb\xbf"+testRecord {
			t.Errorf("%s: %q, %v", contentType, data, err)
		}
	}
}

func TestAPageInsteadOfAnAttachmentIsABrokenAnswer(t *testing.T) {
	answers := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answers++
		_, _ = io.WriteString(w, "<center>down</center>")
	}))
	defer server.Close()
	gate := &recorder{}
	c := newTestClient(t, server.URL, gate)
	var got bytes.Buffer
	sink := bufferSink(&got)
	sink.Check = func(m Media) (string, error) { return "HTML of " + m.ContentType, nil }
	_, err := c.Media(t.Context(), testRef, sink)
	failed := asError(t, err)
	if failed.Class != ClassBroken || failed.Kind != KindHTMLPage || failed.Excerpt != "<center>down</center>" || !strings.Contains(failed.Message, "HTML of text/") {
		t.Errorf("%+v", failed)
	}
	if answers != c.cfg.MaxRetries+1 || len(gate.outcomes) != answers || !gate.outcomes[0].Unavailable() {
		t.Errorf("%d answers, outcomes %+v", answers, gate.outcomes)
	}

	sink.Check = func(Media) (string, error) { return "", errors.New("disk gone") }
	if _, err := c.Media(t.Context(), testRef, sink); asError(t, err).Class != ClassOwn {
		t.Errorf("a check that fails: %v", err)
	}
}
