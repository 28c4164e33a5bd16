package copies

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"noggin/batch/copies/place"
	"noggin/storage"
)

// Config is the section [copy].
type Config struct {
	// To is the target: an absolute folder, or s3://bucket/prefix. Empty: nothing is copied.
	To string `toml:"to"`
	// Endpoint is the address of an S3 server. Empty: that of Region at AWS.
	Endpoint string `toml:"endpoint"`
	Region   string `toml:"region"`
	// PathStyle puts the bucket into the path of addresses.
	PathStyle bool `toml:"path_style"`
	// Retain is how long the target must refuse to delete attachments, former files and
	// the files of logs, such as "7 years". Empty: it need not.
	Retain string `toml:"retain"`
	// Concurrency is how many files one run copies or verifies at a time.
	Concurrency int `toml:"concurrency"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{Region: "us-east-1", Concurrency: 8} }

const s3Scheme = "s3://"

// IsS3 tells whether the target is a bucket.
func (c Config) IsS3() bool { return strings.HasPrefix(c.To, s3Scheme) }

// bucket returns the bucket and the prefix of an S3 target.
func (c Config) bucket() (bucket, prefix string) {
	bucket, prefix, _ = strings.Cut(strings.TrimPrefix(c.To, s3Scheme), "/")
	return bucket, strings.Trim(prefix, "/")
}

// url is the target as the database knows it.
func (c Config) url() string {
	if !c.IsS3() {
		return filepath.Clean(c.To)
	}
	bucket, prefix := c.bucket()
	return strings.TrimSuffix(s3Scheme+bucket+"/"+prefix, "/")
}

// endpoint is the target's endpoint as the database knows it.
func (c Config) endpoint() string {
	if !c.IsS3() {
		return ""
	}
	return strings.TrimSuffix(c.Endpoint, "/")
}

// Place is the target as the database knows it; none: [copy] to is not set.
func (c Config) Place() storage.CopyPlace {
	if c.To == "" {
		return storage.CopyPlace{}
	}
	return storage.CopyPlace{URL: c.url(), Endpoint: c.endpoint()}
}

var (
	bucketForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	regionForm = regexp.MustCompile(`^[A-Za-z0-9-]{1,63}$`)
	retainForm = regexp.MustCompile(`^([1-9][0-9]{0,3}) ?(day|week|month|year)s?$`)
)

// Validate reports every wrong value, joined.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("[copy] "+format, args...)) }
	if c.Concurrency < 1 || c.Concurrency > 64 {
		wrong("concurrency = %d: want 1 to 64", c.Concurrency)
	}
	if c.Retain != "" && !retainForm.MatchString(c.Retain) {
		wrong(`retain = %q: want a number of days, weeks, months or years, such as "7 years"`, c.Retain)
	}
	bucket, prefix := c.bucket()
	switch {
	case c.To == "":
	case c.IsS3():
		if !bucketForm.MatchString(bucket) {
			wrong("to = %q: want s3://bucket/prefix, with the name of a bucket", c.To)
		}
		if strings.Contains(prefix, "//") || strings.ContainsFunc(prefix, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			wrong("to = %q: want a prefix such as noggin/mirror", c.To)
		}
		if !regionForm.MatchString(c.Region) {
			wrong(`region = %q: want a name such as "ap-southeast-2"`, c.Region)
		}
		if u, err := url.Parse(c.Endpoint); c.Endpoint != "" &&
			(err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "") {
			shown := strconv.Quote(c.Endpoint)
			if strings.Contains(shown, "@") {
				shown = "(not shown, as it may hold a password)"
			}
			wrong(`endpoint = %s: want an address such as "https://s3.example.com"`, shown)
		}
	default:
		if !filepath.IsAbs(c.To) || filepath.Clean(c.To) == "/" {
			wrong("to = %q: want an absolute folder, or s3://bucket/prefix", c.To)
		}
		if c.Retain != "" {
			wrong("retain = %q: a folder cannot refuse to delete; use an S3 bucket with Object Lock", c.Retain)
		}
		if c.Endpoint != "" || c.PathStyle {
			wrong("endpoint and path_style belong to an S3 target, and to = %q is a folder", c.To)
		}
	}
	return errors.Join(errs...)
}

// retainUntil is the day until which a file that is copied now is locked; zero: it is not.
func (c Config) retainUntil(now time.Time) time.Time {
	match := retainForm.FindStringSubmatch(c.Retain)
	if match == nil {
		return time.Time{}
	}
	n, _ := strconv.Atoi(match[1])
	years, months, days := 0, 0, 0
	switch match[2] {
	case "year":
		years = n
	case "month":
		months = n
	case "week":
		days = 7 * n
	default:
		days = n
	}
	return now.UTC().Truncate(time.Second).AddDate(years, months, days)
}

// open opens the place of the target.
func (c Config) open(keys place.Keys) (target, error) {
	if !c.IsS3() {
		return place.OpenFolder(c.url())
	}
	bucket, prefix := c.bucket()
	return place.OpenS3(place.S3Config{Bucket: bucket, Prefix: prefix, Endpoint: c.Endpoint, Region: c.Region, PathStyle: c.PathStyle, Keys: keys})
}
