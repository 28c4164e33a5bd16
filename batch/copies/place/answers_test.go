package place

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"noggin/batch/files"
)

// An answer that may be another one in a moment is asked for again. What concerns the one
// object only does not end a run.
func TestWhatAnAnswerSaysOfTheObject(t *testing.T) {
	t.Parallel()
	for code, test := range map[string]struct {
		status, tries int
		want          error // nil: it concerns this object only
	}{
		"SlowDown":                    {http.StatusServiceUnavailable, mostTries, ErrAway},
		"InternalError":               {http.StatusInternalServerError, mostTries, ErrAway},
		"TooManyRequests":             {http.StatusTooManyRequests, mostTries, ErrAway},
		"BadDigest":                   {http.StatusBadRequest, mostTries, nil},
		"XAmzContentSHA256Mismatch":   {http.StatusBadRequest, mostTries, nil},
		"XAmzContentChecksumMismatch": {http.StatusBadRequest, mostTries, nil},
		"RequestTimeout":              {http.StatusBadRequest, mostTries, nil},
		"ConditionalRequestConflict":  {http.StatusConflict, mostTries, ErrAway},
		"OperationAborted":            {http.StatusConflict, mostTries, ErrAway},
		"NotImplemented":              {http.StatusNotImplemented, 1, ErrAway},
		"AccessDenied":                {http.StatusForbidden, 1, ErrAway},
		"NoSuchBucket":                {http.StatusNotFound, 1, ErrAway},
		"NoSuchKey":                   {http.StatusNotFound, 1, files.ErrMissing},
		"InvalidArgument":             {http.StatusBadRequest, 1, nil},
		"MethodNotAllowed":            {http.StatusMethodNotAllowed, 1, nil},
	} {
		tries := 0
		s := lying(t, func(w http.ResponseWriter, _ *http.Request) {
			tries++
			w.WriteHeader(test.status)
			_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
		})
		_, err := s.Read(t.Context(), objectOf("files/a.jpg", []byte("photo")))
		if err == nil || errors.Is(err, ErrAway) != errors.Is(test.want, ErrAway) || errors.Is(err, files.ErrMissing) != errors.Is(test.want, files.ErrMissing) || tries != test.tries {
			t.Errorf("%s: %v after %d tries, want %v after %d", code, err, tries, test.want, test.tries)
		}
	}
}

// The content comes out of an archive and cannot be read again: the rest of it is not the
// original, and says nothing against that.
func TestAnArchivedFileWhoseConnectionBreaksIsNotDamaged(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("photo"), block)
	puts := 0
	s := lying(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		puts++
		panic(http.ErrAbortHandler)
	})
	_, err := s.Put(t.Context(), objectOf("files/a.jpg", content), PutOptions{}, io.MultiReader(bytes.NewReader(content)))
	if !errors.Is(err, ErrAway) || errors.Is(err, ErrSource) || puts != 1 {
		t.Errorf("%v after %d requests", err, puts)
	}
}

// A network volume or a firewall may let a connection stand open and carry nothing.
func TestAConnectionThatCarriesNothingEnds(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Length", "2000")
			w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
			_, _ = w.Write([]byte("begun"))
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	s, err := OpenS3(S3Config{Bucket: "copies", Endpoint: server.URL, Region: "us-east-1", PathStyle: true, Keys: Keys{ID: "id", Secret: "secret"}, Idle: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s.pause = time.Millisecond
	o := Object{Key: "files/a.jpg", Size: 2000, SHA256: strings.Repeat("0", 64)}
	for name, do := range map[string]func(ctx context.Context) error{
		"an answer that does not begin": func(ctx context.Context) error { return s.Look(ctx, o) },
		"a content that stops": func(ctx context.Context) error {
			back, err := s.Read(ctx, o)
			if err != nil {
				return err
			}
			defer files.Release(back)
			return Compare(ctx, o, back)
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := do(ctx); !errors.Is(err, ErrAway) || ctx.Err() != nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}

// A server may answer well and keep none of its promises.
func TestWhatABucketDoesNotKeepIsFound(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		lock   bool
		remove int // the answer to a removal
		want   string
	}{
		{true, http.StatusNoContent, "overwrite checksum lock"},
		{false, http.StatusForbidden, "overwrite checksum delete"},
		{false, http.StatusNoContent, "overwrite checksum"},
	} {
		s := lying(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Query().Has("object-lock"):
				_, _ = io.WriteString(w, "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>")
			case r.Method == http.MethodPut:
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("ETag", `"x"`)
			case r.Method == http.MethodHead:
				w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
			case r.Method == http.MethodDelete:
				w.WriteHeader(test.remove)
			}
		})
		faults, err := s.Try(t.Context(), test.lock)
		var found []string
		for _, f := range faults {
			found = append(found, f.Check)
		}
		if got := strings.Join(found, " "); err != nil || got != test.want {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
}
