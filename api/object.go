package api

import (
	"context"
	"fmt"
	"net/url"
	"strings"
)

// Object fetches the object tip, whatever its type. A token that may read records need
// not be allowed to. It returns the answer's own bytes, as [Client.Record] does. Its
// errors are *Error.
func (c *Client) Object(ctx context.Context, tip string) ([]byte, error) {
	if !tipPattern.MatchString(tip) {
		return nil, c.newError(0, fmt.Errorf("%w: %.80q is not a tip", errReference, tip))
	}
	return c.fetch(ctx, c.objectURL(tip).String(), tip)
}

// objectURL is beside the URL of records: /rest/tip beside /rest/object.
func (c *Client) objectURL(tip string) *url.URL {
	u := *c.records
	u.Path = strings.TrimSuffix(u.Path, "/object") + "/tip"
	return u.JoinPath(tip)
}
