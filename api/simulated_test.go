package api

import (
	"bytes"
	"testing"
	"time"

	"noggin/api/apitest"
)

func simulate(t *testing.T, server *apitest.Server, gate Gate, change ...func(*Config)) *Client {
	t.Helper()
	return newTestClient(t, server.URL(), gate, append([]func(*Config){func(cfg *Config) {
		cfg.BearerToken, cfg.Namespace = server.Token(), server.Namespace()
	}}, change...)...)
}

func TestAllOfASimulatedWorldArrivesAsItIs(t *testing.T) {
	server := apitest.Start(t, apitest.Options{Records: 24})
	c := simulate(t, server, nil)
	media := 0
	for r := range server.Records() {
		got, err := c.Record(t.Context(), r.APIName, r.Tip)
		if err != nil || !bytes.Equal(got, server.Payload(r.Tip)) {
			t.Fatalf("record %s: %d bytes, %v", r.Tip, len(got), err)
		}
		for _, a := range r.Attachments {
			var picture bytes.Buffer
			m, err := c.Media(t.Context(), a.Ref, bufferSink(&picture))
			if err != nil || !bytes.Equal(picture.Bytes(), server.Media(a.Tip)) || m.ContentType == "" {
				t.Fatalf("attachment %s: %d bytes, %+v, %v", a.Ref, picture.Len(), m, err)
			}
			media++
		}
	}
	if media == 0 {
		t.Error("the world has no media")
	}
}

func TestSimulatedFaultsOfRecords(t *testing.T) {
	for fault, want := range map[string]string{
		"html": KindHTMLPage, "empty": KindBrokenAnswer, "empty-object": KindBrokenAnswer, "array": KindBrokenAnswer, "malformed": KindBrokenAnswer,
		"wrong-tip": KindBrokenAnswer, "no-tip": KindBrokenAnswer, "no-meta": KindBrokenAnswer, "redirect": KindRedirect, "redirect-loop": KindRedirect,
		"huge": KindTooLarge, "gzip-bomb": KindTooLarge, "endless": KindTooLarge, "hang": KindTimeout, "hang-body": KindTimeout,
		"reset": KindConnection, "reset-body": KindConnection, "cut": KindCutBody, "cut-chunked": KindCutBody, "cut-close": KindBrokenAnswer,
		"drip": KindTimeout, "no-id": "", "no-date": "", "nul": "", "numbers-as-text": "",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			server := apitest.Start(t, apitest.Options{Records: 1})
			server.AddFault(apitest.Fault{Kind: fault, Pause: 50 * time.Millisecond})
			gate := &recorder{}
			c := simulate(t, server, gate, func(cfg *Config) {
				cfg.Timeout, cfg.MaxRetries, cfg.MaxPayloadBytes = 20*time.Second, 1, 1<<20
				if want == KindTimeout {
					cfg.Timeout = time.Second
				}
			})
			r := server.Record(0)
			_, err := c.Record(t.Context(), r.APIName, r.Tip)
			gate.ended(t)
			if want == "" && err == nil {
				return
			}
			if e := asError(t, err); e.Kind != want {
				t.Errorf("got %s (%v), want %q", e.Kind, err, want)
			}
		})
	}
}
