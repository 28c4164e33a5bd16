package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// fetch gets the record tip from target. It asks with little memory first.
func (c *Client) fetch(ctx context.Context, target, tip string) ([]byte, error) {
	k := c.newCall(false)
	for _, s := range shares {
		if s.bytes >= c.cfg.MaxPayloadBytes {
			break
		}
		if data, more, err := k.fetchWithin(ctx, target, tip, s); !more {
			return data, err
		}
	}
	data, _, err := k.fetchWithin(ctx, target, tip, c.most())
	return data, err
}

// fetchWithin asks for a record and reads it if the share holds it. more tells that it
// needs more, which is never so with [Client.most].
func (k *call) fetchWithin(ctx context.Context, target, tip string, s share) (data []byte, more bool, err error) {
	taken, err := k.memory.take(ctx, s)
	if err != nil {
		return nil, false, k.newError(0, fmt.Errorf("%w: %w", errCancelled, err))
	}
	defer func() {
		if data == nil || more || err != nil {
			taken.release()
			return
		}
		keep(ctx, taken)
	}()
	k.read = func(resp *http.Response) (seen []byte, err error) {
		var m measure
		more = false
		seen, err = k.readMeasured(resp, s, &m)
		if more = errors.Is(err, errMore); more {
			return nil, nil
		}
		if err != nil {
			return seen, err
		}
		if isHTML(resp.Header.Get("Content-Type"), seen) {
			return seen, errHTML
		}
		if err := checkRecord(seen, tip); err != nil {
			return seen, err // another attempt may need all the memory
		}
		data = seen
		taken.shrink(share{bytes: int64(len(seen)), values: m.values, strings: m.strings})
		return seen, nil
	}
	err = k.do(ctx, target, k.cfg.MaxRetries)
	return data, more, err
}

// errMore says that an answer needs more memory than was set aside for it.
var errMore = errors.New("the answer needs more memory")

// readMeasured reads an answer that the share holds, and counts its values as they come.
func (c *Client) readMeasured(resp *http.Response, s share, m *measure) ([]byte, error) {
	limit := c.cfg.MaxPayloadBytes
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are taken", errTooLarge, resp.ContentLength, limit)
	}
	body, err := decoded(resp)
	if err != nil {
		return nil, err
	}
	var data bytes.Buffer
	if resp.ContentLength > 0 {
		data.Grow(int(min(resp.ContentLength, s.bytes, 1<<20)) + bytes.MinRead)
	}
	buffer := copyBuffers.Get().(*[128 << 10]byte)
	defer copyBuffers.Put(buffer)
	for {
		n, readErr := body.Read(buffer[:])
		m.add(buffer[:n])
		if err := m.check(); err != nil {
			return data.Bytes(), err
		}
		if size := data.Len() + n; int64(size) > limit {
			return data.Bytes(), fmt.Errorf("%w: more than %d bytes", errTooLarge, limit)
		} else if !s.holds(size, m) {
			return data.Bytes(), errMore
		}
		data.Write(buffer[:n])
		switch {
		case errors.Is(readErr, io.EOF):
			return data.Bytes(), nil
		case readErr != nil:
			return data.Bytes(), readErr
		}
	}
}

// readLimited reads a body of at most limit bytes, counted after decompression. With an
// error it returns what it has read so far.
func readLimited(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are taken", errTooLarge, resp.ContentLength, limit)
	}
	data, err := readUpTo(resp, limit+1)
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%w: more than %d bytes", errTooLarge, limit)
	}
	return data, err
}

// readUpTo reads the first limit bytes of a body.
func readUpTo(resp *http.Response, limit int64) ([]byte, error) {
	body, err := decoded(resp)
	if err != nil {
		return nil, err
	}
	var data bytes.Buffer
	if resp.ContentLength > 0 {
		data.Grow(int(min(resp.ContentLength, 1<<20)) + bytes.MinRead)
	}
	_, err = data.ReadFrom(io.LimitReader(body, limit))
	return data.Bytes(), err
}

func isHTML(contentType string, data []byte) bool {
	if mediaType, _, err := mime.ParseMediaType(contentType); err == nil && mediaType == "text/html" {
		return !json.Valid(withoutMark(data))
	}
	return bytes.HasPrefix(bytes.TrimSpace(withoutMark(data)), []byte("<"))
}

// withoutMark is the data behind a byte order mark, which some proxies add.
func withoutMark(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) }

// checkRecord checks that data is one JSON object whose $meta.tip is tip. Of a key that
// stands twice the last one counts, as in jsonb.
func checkRecord(data []byte, tip string) error {
	data = withoutMark(data)
	if len(bytes.TrimSpace(data)) == 0 {
		return fmt.Errorf("%w: it is empty", errBroken)
	}
	var record map[string]json.RawMessage
	var malformed *json.SyntaxError
	if err := json.Unmarshal(data, &record); errors.As(err, &malformed) {
		return fmt.Errorf("%w: malformed JSON at byte %d: %w", errBroken, malformed.Offset, err)
	} else if err != nil || record == nil { // nil: null
		return fmt.Errorf("%w: JSON, but not an object", errBroken)
	}
	var meta map[string]json.RawMessage
	var got string
	if json.Unmarshal(record["$meta"], &meta) != nil || json.Unmarshal(meta["tip"], &got) != nil || got == "" {
		return fmt.Errorf("%w: it has no $meta.tip", errBroken)
	}
	if !strings.EqualFold(got, tip) {
		return fmt.Errorf("%w: its $meta.tip is of another record: %.70q", errBroken, got)
	}
	return nil
}
