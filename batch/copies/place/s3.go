package place

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"noggin/batch/files"
)

// S3Config says which bucket is a place, and how to reach it.
type S3Config struct {
	Bucket, Prefix string
	Endpoint       string // https://host or http://host:port; "": that of the region at AWS
	Region         string
	PathStyle      bool // the bucket stands in the path, not in the host's name
	Keys           Keys
	// Idle is how long an open connection may carry nothing, and how long an answer may
	// take to begin. 0: a minute.
	Idle time.Duration
}

// Keys are the credentials of S3.
type Keys struct{ ID, Secret, Session string }

// S3 is a bucket, below a prefix. Many goroutines and hosts may use it.
type S3 struct {
	core   *minio.Core
	bucket string
	prefix string
	at     string // for messages
	pause  time.Duration
	single int64 // the largest object of a single PUT
}

const (
	mostSingle = 5 << 30 // bytes of a PUT, by the rules of S3
	// mostTries is how often a request is sent that fails for a passing reason.
	mostTries = 4
	// longestVersion bounds what a server may make the database keep.
	longestVersion = 1024
)

// OpenS3 prepares the connection; the first request connects.
func OpenS3(cfg S3Config) (*S3, error) {
	endpoint := cfg.Endpoint
	if endpoint == "" {
		endpoint = "https://s3." + cfg.Region + ".amazonaws.com"
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("the endpoint %q is no address such as https://s3.example.com", cfg.Endpoint)
	}
	options := &minio.Options{
		Creds: credentials.NewStaticV4(cfg.Keys.ID, cfg.Keys.Secret, cfg.Keys.Session), Secure: u.Scheme == "https",
		Region: cfg.Region, Transport: newTransport(cfg.Idle), MaxRetries: 1, BucketLookup: minio.BucketLookupDNS,
	}
	if cfg.PathStyle || net.ParseIP(u.Hostname()) != nil || u.Hostname() == "localhost" { // these have no names below them
		options.BucketLookup = minio.BucketLookupPath
	}
	core, err := minio.NewCore(u.Host, options)
	if err != nil {
		return nil, err
	}
	prefix := strings.Trim(cfg.Prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	return &S3{core: core, bucket: cfg.Bucket, prefix: prefix, at: "s3://" + cfg.Bucket + " at " + u.Host, pause: time.Second, single: mostSingle}, nil
}

// Close does nothing: idle connections end by themselves.
func (s *S3) Close() error { return nil }

// Flush does nothing: an object is safe once its PUT is answered.
func (s *S3) Flush() error { return nil }

// Sweep does nothing: a bucket holds no unfinished files.
func (s *S3) Sweep(time.Time) error { return nil }

// Check returns [ErrAway] unless the bucket answers.
func (s *S3) Check(ctx context.Context) error {
	return s.try(ctx, func() error {
		there, err := s.core.BucketExists(ctx, s.bucket)
		if err == nil && !there {
			err = fmt.Errorf("%w: %s: there is no such bucket", ErrAway, s.at)
		}
		return err
	})
}

// CheckLock returns [ErrNoLock] unless the bucket can keep objects from being deleted.
func (s *S3) CheckLock(ctx context.Context) error {
	return s.try(ctx, func() error {
		enabled, _, _, _, err := s.core.GetObjectLockConfig(ctx, s.bucket)
		code := minio.ToErrorResponse(err).Code
		switch {
		case code == "ObjectLockConfigurationNotFoundError" || code == "NoSuchObjectLockConfiguration" || code == "InvalidRequest" || err == nil && enabled != "Enabled":
			return fmt.Errorf("%s: %w: a bucket gets it when it is made", s.at, ErrNoLock)
		case code == minio.NotImplemented || code == minio.MethodNotAllowed:
			return fmt.Errorf("%s: %w: this server cannot do it", s.at, ErrNoLock)
		}
		return err
	})
}

// Put sends the object in a single PUT, which the server refuses when the key is taken or
// when the content has another SHA-256. A server that refuses while the content is still
// sent may close the connection, and its answer is lost: Put then looks what is there. So it
// does after a success that is none of S3: a proxy answers with a page of its own.
// Objects over 5 GB go in parts. With Retain, the object cannot be deleted until then.
func (s *S3) Put(ctx context.Context, o Object, opts PutOptions, content io.Reader) (Stored, error) {
	seeker, repeatable := content.(io.Seeker)
	var stored Stored
	replace, tries := false, 0
	if !repeatable { // what is there is looked at first, as the content can be sent only once
		switch err := s.try(ctx, func() error { return s.looksLike(ctx, o, opts) }); {
		case err == nil:
			return Stored{Already: true}, nil
		case errors.Is(err, files.ErrDiffers):
			stored.Mended, replace = true, true
		case !errors.Is(err, files.ErrMissing):
			return stored, err
		}
	}
	err := s.try(ctx, func() (err error) {
		if tries++; tries > 1 {
			if !repeatable {
				return fmt.Errorf("%w: the connection broke while an archived file was sent", ErrAway)
			}
			if _, err := seeker.Seek(0, io.SeekStart); err != nil {
				return fmt.Errorf("%w: %w", ErrSource, err)
			}
		}
		from := newSource(o, content)
		info, err := s.put(ctx, o, opts.Retain, from, replace)
		sent, failed := from.end()
		if failed != nil {
			return failed
		}
		stored.VersionID = version(info.VersionID)
		taken := isTaken(err)
		refused := isBroken(err) && from.digest.size > 0 && ctx.Err() == nil // perhaps: something was sent
		doubtful := err == nil && (!sent || info.ETag == "")
		if !taken && !refused && !doubtful {
			return err
		}
		switch looked := s.looksLike(ctx, o, opts); {
		case looked == nil:
			stored.Already = !doubtful
			return nil
		case doubtful:
			return fmt.Errorf("%w: %s said that it has the object, and has not; perhaps a proxy answers in its place: %s", ErrAway, s.at, looked.Error())
		case errors.Is(looked, files.ErrDiffers): // the next try replaces it
			stored.Mended, replace = true, true
			return errAgain
		case taken, !isBroken(looked) && !errors.Is(s.classify(ctx, looked), files.ErrMissing): // such as 403
			return looked
		}
		return err // the connection broke, and the object is not there
	})
	return stored, err
}

// errAgain makes try call its function again at once.
var errAgain = errors.New("again")

// put sends one request, or one for each part.
func (s *S3) put(ctx context.Context, o Object, retain time.Time, content io.Reader, replace bool) (minio.UploadInfo, error) {
	opts := minio.PutObjectOptions{ContentType: "application/octet-stream"}
	if !retain.IsZero() {
		opts.Mode, opts.RetainUntilDate = minio.Compliance, retain
	}
	if o.Size > s.single {
		opts.PartSize, opts.NumThreads = partSize(o.Size), 1
		return s.core.Client.PutObject(ctx, s.bucket, s.prefix+o.Key, content, o.Size, opts)
	}
	sum, err := hex.DecodeString(o.SHA256)
	if err != nil {
		return minio.UploadInfo{}, fmt.Errorf("%w: %w", ErrSource, err)
	}
	opts.UserMetadata = map[string]string{"x-amz-checksum-sha256": base64.StdEncoding.EncodeToString(sum)}
	if !replace {
		opts.SetMatchETagExcept("*")
	}
	// The request is signed with the hash of the content, also without TLS. Signed chunks
	// would end an empty object with bytes that some servers take for the next request.
	opts.DisableContentSha256 = true
	if o.Size == 0 { // it has no body, so nobody else finds that the original is longer
		if _, err := io.Copy(io.Discard, content); err != nil {
			return minio.UploadInfo{}, err
		}
	}
	return s.core.PutObject(ctx, s.bucket, s.prefix+o.Key, content, o.Size, "", o.SHA256, opts)
}

// partSize is the size of a part of a large object: there may be 10,000.
func partSize(size int64) uint64 { return uint64(max(16<<20, size/9000)) }

// isTaken tells whether a PUT was refused because the key is taken.
func isTaken(err error) bool {
	response := minio.ToErrorResponse(err)
	return response.StatusCode == http.StatusPreconditionFailed || response.Code == minio.PreconditionFailed
}

// looksLike compares the object under a key that was taken, reads it where the server
// keeps no SHA-256, and locks it where it is not locked for as long as it should be.
func (s *S3) looksLike(ctx context.Context, o Object, opts PutOptions) error {
	info, err := s.stat(ctx, o)
	if err != nil {
		return err
	}
	if err = s.compare(ctx, o, info); err == nil && opts.Doubt {
		err = s.readBack(ctx, o)
	}
	if err != nil || opts.Retain.IsZero() {
		return err
	}
	if until, err := time.Parse(time.RFC3339, info.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date")); err == nil && !until.Before(opts.Retain.Add(-31*24*time.Hour)) {
		return nil
	}
	mode := minio.Compliance
	return s.core.PutObjectRetention(ctx, s.bucket, s.prefix+o.Key, minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &opts.Retain})
}

func (s *S3) readBack(ctx context.Context, o Object) error {
	content, err := s.open(ctx, o) // try repeats the reading if the content breaks off
	if err != nil {
		return err
	}
	defer files.Release(content)
	return Compare(ctx, o, content)
}

func (s *S3) stat(ctx context.Context, o Object) (minio.ObjectInfo, error) {
	return s.core.StatObject(ctx, s.bucket, s.prefix+o.Key, minio.StatObjectOptions{Checksum: true})
}

// compare compares an object with what the server says of it. Where the server keeps no
// SHA-256, compare reads the object.
func (s *S3) compare(ctx context.Context, o Object, info minio.ObjectInfo) error {
	if info.Size != o.Size {
		return fmt.Errorf("%w: %d bytes instead of %d", files.ErrDiffers, info.Size, o.Size)
	}
	sum, err := base64.StdEncoding.DecodeString(info.ChecksumSHA256)
	if err != nil || len(sum) == 0 { // that of an object in parts has a number behind it
		return s.readBack(ctx, o)
	}
	if got := hex.EncodeToString(sum); got != o.SHA256 {
		return fmt.Errorf("%w: SHA-256 %s instead of %s", files.ErrDiffers, got, o.SHA256)
	}
	return nil
}

// Look asks the server for presence, size and checksum. Errors: [files.ErrMissing],
// [files.ErrDiffers].
func (s *S3) Look(ctx context.Context, o Object) error {
	return s.try(ctx, func() error {
		info, err := s.stat(ctx, o)
		if err != nil {
			return err
		}
		return s.compare(ctx, o, info)
	})
}

// Read opens the object. The error is [files.ErrMissing] if there is none. A content that
// breaks off is [ErrAway].
func (s *S3) Read(ctx context.Context, o Object) (io.ReadCloser, error) {
	content, err := s.open(ctx, o)
	if err != nil {
		return nil, err
	}
	return body{content, func(err error) error { return s.classify(ctx, err) }}, nil
}

func (s *S3) open(ctx context.Context, o Object) (content io.ReadCloser, err error) {
	ctx = context.WithValue(ctx, objectSize{}, o.Size)
	err = s.try(ctx, func() (err error) {
		content, _, _, err = s.core.GetObject(ctx, s.bucket, s.prefix+o.Key, minio.GetObjectOptions{})
		return err
	})
	return content, err
}

// Remove removes one version of the object; "" is the current one of a bucket without
// versions. A missing one is no error. The error is [ErrLocked] if the server refuses.
func (s *S3) Remove(ctx context.Context, o Object, version string) error {
	err := s.try(ctx, func() error {
		err := s.core.RemoveObject(ctx, s.bucket, s.prefix+o.Key, minio.RemoveObjectOptions{VersionID: version})
		switch code := minio.ToErrorResponse(err); {
		case code.Code == "NoSuchVersion":
			return nil
		case code.StatusCode == http.StatusForbidden, code.Code == "ObjectLocked", code.Code == "WORMProtected", code.Code == "InvalidRequest":
			return fmt.Errorf("%s: %w: %w", o.Key, ErrLocked, err)
		}
		return err
	})
	if errors.Is(err, files.ErrMissing) {
		return nil
	}
	return err
}

// List calls each with every object below the folder.
func (s *S3) List(ctx context.Context, folder string, each func(Found) error) error {
	if ctx.Value(pagesLeft{}) == nil {
		ctx = context.WithValue(ctx, pagesLeft{}, new(mostPages))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for info := range s.core.Client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix + folder + "/", Recursive: true}) {
		if info.Err != nil {
			return s.classify(ctx, info.Err)
		}
		if err := each(Found{strings.TrimPrefix(info.Key, s.prefix), info.Size, info.LastModified}); err != nil {
			return err
		}
	}
	return nil
}

// version is the id that a server gives to a version, if the database can keep it.
func version(id string) string {
	if len(id) > longestVersion || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return id
}
