package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// maxDepth is how deep a record's JSON may be nested; the API's is 3 deep.
const maxDepth = 200

// readRecord reads an answer that should be the record tip.
func (c *Client) readRecord(resp *http.Response, tip string) ([]byte, error) {
	data, err := readLimited(resp, c.cfg.MaxPayloadBytes)
	if err != nil {
		return data, err
	}
	if isHTML(resp.Header.Get("Content-Type"), data) {
		return data, errHTML
	}
	return data, checkRecord(data, tip)
}

// readLimited reads a body of at most limit bytes, counted after decompression. It
// returns what it has also with an error.
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
	body, _, err := decoded(resp)
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
		return !json.Valid(data)
	}
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte("<"))
}

// checkRecord reports why data is not the record tip: it must be one JSON object
// whose $meta.tip is the tip that was asked for. Where a key stands twice the last
// one counts, as in jsonb.
func checkRecord(data []byte, tip string) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return fmt.Errorf("%w: it is empty", errBroken)
	}
	var record map[string]json.RawMessage
	var malformed *json.SyntaxError
	if err := json.Unmarshal(data, &record); errors.As(err, &malformed) {
		return fmt.Errorf("%w: malformed JSON at byte %d: %w", errBroken, malformed.Offset, err)
	} else if err != nil || record == nil { // nil: null
		return fmt.Errorf("%w: JSON, but no object", errBroken)
	}
	if depth(data) > maxDepth {
		return fmt.Errorf("%w: nested more than %d deep", errBroken, maxDepth)
	}
	var meta map[string]json.RawMessage
	var got string
	if json.Unmarshal(record["$meta"], &meta) != nil || json.Unmarshal(meta["tip"], &got) != nil || got == "" {
		return fmt.Errorf("%w: it has no $meta.tip", errBroken)
	}
	if !strings.EqualFold(got, tip) {
		return fmt.Errorf("%w: its $meta.tip is another's: %.70q", errBroken, got)
	}
	return nil
}

// depth is how deep valid JSON is nested.
func depth(data []byte) int {
	deepest, level, inString := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch b := data[i]; {
		case inString && b == '\\':
			i++
		case b == '"':
			inString = !inString
		case inString:
		case b == '{' || b == '[':
			level++
			deepest = max(deepest, level)
		case b == '}' || b == ']':
			level--
		}
	}
	return deepest
}
