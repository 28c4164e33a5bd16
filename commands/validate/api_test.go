package validate

import (
	"encoding/base64"
	"testing"
)

func TestTokenTimesReadsAnything(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"", "..", "a.b.c", "a." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":"soon"}`)) + ".c", "a." + base64.RawURLEncoding.EncodeToString([]byte(`[1]`)) + ".c"} {
		if _, _, ok := tokenTimes(token); ok {
			t.Errorf("%q is taken for a JWT", token)
		}
	}
	expires, _, ok := tokenTimes("a." + base64.URLEncoding.EncodeToString([]byte(`{"exp":1795500000.5,"a":1}`)) + ".c")
	if !ok || expires.Unix() != 1795500000 {
		t.Errorf("%v, %v", expires, ok)
	}
	if expires, _, ok := tokenTimes("a." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":1e300}`)) + ".c"); !ok || !expires.IsZero() {
		t.Errorf("%v, %v", expires, ok)
	}
}
