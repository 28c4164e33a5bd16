package api

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// answerOf is a record with a field of this JSON.
func answerOf(field string) string {
	return `{"$meta":{"tip":"` + testTip + `"},"field":` + field + `}`
}

func list(element string, size int) string {
	return "[" + strings.Repeat(element+",", size/(len(element)+1)) + element + "]"
}

// peakOf runs fn and returns by how much the heap in use grew at most, sampled.
func peakOf(fn func()) uint64 {
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		for {
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapInuse)
			select {
			case <-stop:
				peak <- most
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	fn()
	close(stop)
	return max(<-peak, before.HeapInuse) - before.HeapInuse
}

// Answers of 16 MiB that become gigabytes as values are refused while they arrive: eight
// at once took 8.2 GB.
func TestHostileAnswersAreRefusedBeforeTheyBecomeValues(t *testing.T) {
	const size = 14 << 20 / 4 // each is refused long before its end
	for name, field := range map[string]string{
		"numbers":            list("1", size),
		"empty lists":        list("[]", size),
		"empty objects":      list("{}", size),
		"lists in lists":     list("[[[]]]", size),
		"empty texts":        list(`""`, size),
		"null":               list("null", size),
		"references":         list(`"/media/file?ns=ab&tip=cd"`, size),
		"escaped references": list(`"\/media\/file?tip=\"\\"`, size),
		"objects":            list(`{"a":true}`, size),
		"keys of an object":  "{" + strings.Repeat(`"k":0,`, size/6) + `"k":0}`,
		"depth":              strings.Repeat("[", 201) + strings.Repeat("]", 201),
		"depth of objects":   strings.Repeat(`{"a":`, 201) + "1" + strings.Repeat("}", 201),
		"behind white space": strings.Repeat(" ", 1<<20) + list("0", size),
	} {
		var zipped bytes.Buffer
		z, _ := gzip.NewWriterLevel(&zipped, gzip.BestSpeed)
		_, _ = io.WriteString(z, answerOf(field))
		_ = z.Close()
		server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(zipped.Bytes())
		})
		c := newTestClient(t, server.URL, nil)
		grew := peakOf(func() {
			var wait sync.WaitGroup
			for range 4 {
				wait.Go(func() {
					_, err := c.Record(t.Context(), testForm, testTip)
					var e *Error
					if !errors.As(err, &e) || e.Class != ClassBroken || e.Kind != KindTooLarge && e.Kind != KindBrokenAnswer {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			wait.Wait()
		})
		t.Logf("%s: %d MB", name, grew>>20)
		if grew > 80<<20 {
			t.Errorf("%s: four answers took %d MB", name, grew>>20)
		}
	}
}

// Ten answers of 14 MB took 750 MB, six would take 450. All sizes here are an eighth of
// the default ones, as the memory of an answer grows with its size.
func TestLargeAnswersTakeTurns(t *testing.T) {
	const size, limit = 14 << 20 / 8, 300 << 20 / 8
	for name, field := range map[string]string{
		"one text":     `"` + strings.Repeat("x", size) + `"`,
		"many texts":   list(`"`+strings.Repeat("x", 200)+`"`, size),
		"many numbers": list(strings.Repeat("1", 70), size),
	} {
		body := answerOf(field)
		server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
		c := newTestClient(t, server.URL, nil, func(cfg *Config) {
			cfg.Timeout = time.Minute
			cfg.MaxPayloadBytes /= 8
			cfg.PayloadMemory /= 8
		})
		var mu sync.Mutex
		inHand, most := 0, 0
		grew := peakOf(func() {
			var wait sync.WaitGroup
			for range 6 {
				wait.Go(func() {
					ctx, release := Holding(t.Context())
					defer release()
					data, err := c.Record(ctx, testForm, testTip)
					if err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
					mu.Lock()
					inHand++
					most = max(most, inHand)
					mu.Unlock()
					stored := bytes.Clone(data) // as the pipeline does
					var values map[string]any
					if err := json.Unmarshal(stored, &values); err != nil {
						t.Error(err)
					}
					parameter := string(stored)
					runtime.KeepAlive(values)
					runtime.KeepAlive(parameter)
					mu.Lock()
					inHand--
					mu.Unlock()
				})
			}
			wait.Wait()
		})
		t.Logf("%s: %d MB, %d at once", name, grew>>20, most)
		if grew > limit || most > 3 {
			t.Errorf("%s: %d answers at once took %d MB", name, most, grew>>20)
		}
	}
}

func TestTheMemoryOfAnswersIsGivenBack(t *testing.T) {
	bodies := []string{answerOf(`"` + strings.Repeat("x", 1<<20) + `"`), "{", answerOf(list("1", 1<<20)), "<html>", testRecord}
	var i int
	server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, bodies[i]) })
	c := newTestClient(t, server.URL, nil)
	for i = range bodies {
		ctx, release := Holding(t.Context())
		_, err := c.Record(ctx, testForm, testTip)
		if all := c.memory.free.TryAcquire(c.memory.size); all {
			c.memory.free.Release(c.memory.size)
			if err == nil {
				t.Errorf("%.20s: nothing is held for an answer in hand", bodies[i])
			}
		}
		release()
		if !c.memory.free.TryAcquire(c.memory.size) {
			t.Fatalf("%.20s: memory is still held after %v", bodies[i], err)
		}
		c.memory.free.Release(c.memory.size)
	}
}

// The attempt that follows a broken answer may read as much as the first one: what that
// gave back would be missing.
func TestAnotherAttemptHasTheMemoryOfTheFirst(t *testing.T) {
	t.Parallel()
	whole := answerOf(`"` + strings.Repeat("x", 300<<10) + `"`)
	var c *Client
	attempts := 0
	server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if attempts++; attempts == 1 {
			_, _ = io.WriteString(w, `{"a":1}`) // without $meta.tip
			return
		}
		if rest := c.memory.size - shares[0].cost(); c.memory.free.TryAcquire(rest + 1) {
			t.Error("less memory is held than the answer may take")
			c.memory.free.Release(rest + 1)
		}
		_, _ = io.WriteString(w, whole)
	})
	c = newTestClient(t, server.URL, nil)
	if data, err := c.Record(t.Context(), testForm, testTip); err != nil || string(data) != whole {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if attempts != 2 {
		t.Errorf("%d attempts", attempts)
	}
}

func TestCountingDoesNotMindHowBytesArrive(t *testing.T) {
	text := "\xef\xbb\xbf \n" + `{"a\\":"[{,\"\\\\","b":[1,[2,{"c":"d"}],"e"],"f":{}}`
	var whole measure
	whole.add([]byte(text))
	if got := fmt.Sprint(whole.deepest, whole.values, whole.strings); got != "4 10 7" {
		t.Errorf("counted %s", got)
	}
	for n := 1; n < len(text); n++ {
		var m measure
		for rest := []byte(text); len(rest) > 0; {
			k := min(n, len(rest))
			m.add(rest[:k])
			rest = rest[k:]
		}
		if m != whole {
			t.Errorf("in pieces of %d: %+v, not %+v", n, m, whole)
		}
	}
}
