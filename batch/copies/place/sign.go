package place

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// sign signs a request and all its headers for S3, by version 4 of the signatures of AWS.
// sum is the SHA-256 of the body, in hex.
func sign(r *http.Request, keys Keys, region, sum string, now time.Time) {
	stamp := now.UTC().Format("20060102T150405Z")
	r.Header.Set("X-Amz-Date", stamp)
	r.Header.Set("X-Amz-Content-Sha256", sum)
	if keys.Session != "" {
		r.Header.Set("X-Amz-Security-Token", keys.Session)
	}
	lines := map[string]string{"host": r.URL.Host}
	for name, values := range r.Header {
		if name != "User-Agent" { // which a proxy may change
			lines[strings.ToLower(name)] = strings.Join(strings.Fields(strings.Join(values, ",")), " ")
		}
	}
	names := slices.Sorted(maps.Keys(lines))
	signed := strings.Join(names, ";")
	var text strings.Builder
	text.WriteString(r.Method + "\n" + r.URL.EscapedPath() + "\n" + r.URL.RawQuery + "\n")
	for _, name := range names {
		text.WriteString(name + ":" + lines[name] + "\n")
	}
	text.WriteString("\n" + signed + "\n" + sum)

	day := stamp[:8]
	scope := day + "/" + region + "/s3/aws4_request"
	hashed := sha256.Sum256([]byte(text.String()))
	key := []byte("AWS4" + keys.Secret)
	for _, step := range []string{day, region, "s3", "aws4_request"} {
		key = keyed(key, step)
	}
	signature := keyed(key, "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hex.EncodeToString(hashed[:]))
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+keys.ID+"/"+scope+", SignedHeaders="+signed+", Signature="+hex.EncodeToString(signature))
}

func keyed(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// escape writes a path as S3 signs it: only these characters stand for themselves.
func escape(path string) string {
	const hexDigits = "0123456789ABCDEF"
	var escaped strings.Builder
	for _, c := range []byte(path) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.~/", c) >= 0:
			escaped.WriteByte(c)
		default:
			escaped.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
		}
	}
	return escaped.String()
}
