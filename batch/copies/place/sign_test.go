package place

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"
)

// TestRequestsAreSignedAsByAnotherProgram compares with a widely used client of S3.
func TestRequestsAreSignedAsByAnotherProgram(t *testing.T) {
	t.Parallel()
	const region = "ap-southeast-2"
	for _, keys := range []Keys{{"id", "secret", ""}, {"id", "secret+/", "session/+="}} {
		for _, key := range []string{"", "a.jpg", "2025/08/20 LCD-1/a b+ü&=?#%41~*'():;,!@$[].jpg", "a//b/", "日本/\x01"} {
			for _, query := range []url.Values{nil, {"versionId": {"a+b/c= ~*"}}, {"list-type": {"2"}, "prefix": {"a b/ü*"}, "uploads": {""}}} {
				var sent *http.Request
				cfg := S3Config{Bucket: "copies", Region: region, Keys: keys}
				b := newBucket(&url.URL{Scheme: "https", Host: "s3.example.com:443"}, cfg)
				b.transport = transport(func(r *http.Request) (*http.Response, error) {
					sent = r
					return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
				})
				// A signature holds for a second: another try, if the second ends between the two.
				for range 5 {
					r := request{method: http.MethodPut, key: key, query: query, header: lockHeader(http.Header{"Content-Type": {octets}}, time.Now())}
					if _, err := b.do(t.Context(), r.withBody([]byte("text"))); err != nil {
						t.Fatal(err)
					}
					theirs := sent.Clone(t.Context())
					theirs.Header.Del("Authorization")
					theirs = signer.SignV4(*theirs, keys.ID, keys.Secret, keys.Session, region)
					if theirs.Header.Get("X-Amz-Date") != sent.Header.Get("X-Amz-Date") {
						continue
					}
					if got, want := sent.Header.Get("Authorization"), theirs.Header.Get("Authorization"); got != want {
						t.Errorf("%q with %v:\n got %s\nwant %s", key, query, got, want)
					}
					break
				}
				if sent.Host != "copies.s3.example.com" || !strings.HasPrefix(sent.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
					t.Errorf("sent to %s with %v", sent.Host, sent.Header)
				}
			}
		}
	}
}
