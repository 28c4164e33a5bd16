package copies

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"strings"

	"noggin/batch/copies/place"
	"noggin/batch/files"
)

// Probe tries the target with a small object. faults are what it does not do as it
// should, warnings what is doubtful about it. The error of a target that cannot be tried
// is [place.ErrAway].
func (c *Copier) Probe(ctx context.Context) (faults, warnings []place.Fault, err error) {
	if c.Config.To == "" {
		return nil, nil, ErrNoTarget
	}
	to, err := c.Config.open(c.Keys)
	if err != nil {
		return nil, nil, err
	}
	defer files.Release(to)
	bucket, isBucket := to.(*place.S3)
	if isBucket {
		if cleartext(c.Config.Endpoint) {
			warnings = append(warnings, place.Fault{Check: "cleartext", Message: "[copy] endpoint begins with http://: everybody on the way reads the files", Remedy: "use https://"})
		}
		if err := to.Check(ctx); err != nil {
			return nil, warnings, err
		}
		faults, err = bucket.Try(ctx, c.Config.Retain != "")
		return faults, warnings, err
	}
	if same, err := files.SameVolume(c.Config.url(), c.Paths.Output); err == nil && same {
		warnings = append(warnings, place.Fault{
			Check: "volume", Message: c.Config.url() + " is on the volume of the output folder: one broken disk takes both", Remedy: "name a folder on another volume in [copy] to",
		})
	}
	_, known, err := c.DB.CopyTargetID(ctx, c.Config.url(), c.Config.endpoint())
	if err != nil {
		return nil, warnings, err
	}
	if err := to.Check(ctx); err != nil && known {
		return nil, warnings, err
	}
	folder, _ := to.(*place.Folder)
	return nil, warnings, folder.Try(ctx)
}

// cleartext tells whether an endpoint is reached without TLS over a network.
func cleartext(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

// ProbeRemedy says what to do about the error of a target that could not be tried.
func ProbeRemedy(err error) string {
	switch {
	case errors.Is(err, os.ErrPermission):
		return "give noggin's user the right to write there"
	case strings.Contains(err.Error(), "HTTP 403"):
		return "correct the keys of [copy], or allow them s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject, s3:DeleteObjectVersion, s3:PutObjectRetention and s3:GetBucketObjectLockConfiguration"
	}
	return "mount its volume, or see that the server runs and that a firewall lets this host through"
}
