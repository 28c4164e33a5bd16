package validate

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"noggin/batch/validate"
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

func TestATokenThatExpiresIsToldInTime(t *testing.T) {
	t.Parallel()
	now := time.Now()
	const day = 24 * time.Hour
	for _, c := range []struct {
		expires, notBefore time.Duration
		want               string
	}{
		{15 * day, -day, ""},
		{13 * day, -day, "warning"},
		{time.Hour, -day, "warning"},
		{-time.Second, -day, "error"},
		{15 * day, 10 * time.Second, ""},
		{15 * day, time.Hour, "error"},
	} {
		claims := fmt.Sprintf(`{"exp":%d,"nbf":%d}`, now.Add(c.expires).Unix(), now.Add(c.notBefore).Unix())
		a := validate.NewArea(areaAPI)
		checkExpiry(a, "a."+base64.RawURLEncoding.EncodeToString([]byte(claims))+".c", now)
		var severities []string
		for _, f := range a.Findings {
			severities = append(severities, f.Severity)
		}
		if got := strings.Join(severities, ", "); got != c.want {
			t.Errorf("expires in %s, valid in %s: %q instead of %q", c.expires, c.notBefore, got, c.want)
		}
	}
}
