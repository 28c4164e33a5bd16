package place

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3 asks for it beside the signed SHA-256
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// bucket sends the requests of S3 that a place needs.
type bucket struct {
	base      url.URL // of the bucket, with a slash at its end
	region    string
	keys      Keys
	transport http.RoundTripper
}

// newBucket makes no connection yet.
func newBucket(endpoint *url.URL, cfg S3Config) *bucket {
	// A host stands in the signature without the port that everybody leaves out.
	host := strings.TrimSuffix(endpoint.Host, map[string]string{"http": ":80", "https": ":443"}[endpoint.Scheme])
	base := url.URL{Scheme: endpoint.Scheme, Host: cfg.Bucket + "." + host, Path: "/"}
	if cfg.PathStyle || net.ParseIP(endpoint.Hostname()) != nil || endpoint.Hostname() == "localhost" { // these have no names below them
		base.Host, base.Path = host, "/"+cfg.Bucket+"/"
	}
	return &bucket{base, cfg.Region, cfg.Keys, newTransport(cfg.Idle)}
}

// request is one request to the bucket.
type request struct {
	method string
	key    string // "": the bucket itself
	query  url.Values
	header http.Header // nil: none but those of every request
	body   io.Reader   // nil: none
	size   int64       // of the body
	sum    string      // the body's SHA-256, in hex
	most   int64       // bytes of the answer, if it is more than mostAnswer
}

// withBody returns r with a short body.
func (r request) withBody(body []byte) request {
	sum := sha256.Sum256(body)
	r.body, r.size, r.sum = bytes.NewReader(body), int64(len(body)), hex.EncodeToString(sum[:])
	return r
}

// refusal is an answer that is no success.
type refusal struct {
	status        int // of HTTP
	Code, Message string
}

func (r refusal) Error() string { return fmt.Sprintf("HTTP %d, %s: %s", r.status, r.Code, r.Message) }

// mostAnswer bounds an answer, in bytes, unless it is a larger object. A page of a listing
// has a thousand keys of 1 KB.
const mostAnswer = 4 << 20

// send sends a request once. The error is a [refusal] if the answer is no success; any
// other one says that there was no answer. The caller closes the answer's body.
func (b *bucket) send(ctx context.Context, r request) (*http.Response, error) {
	if r.body == nil || r.size == 0 {
		r = r.withBody(nil)
		r.body = http.NoBody
	}
	target := b.base
	target.Path += r.key
	target.RawPath = escape(target.Path)
	target.RawQuery = strings.ReplaceAll(r.query.Encode(), "+", "%20")
	sent, err := http.NewRequestWithContext(ctx, r.method, target.String(), r.body)
	if err != nil {
		return nil, err
	}
	sent.ContentLength = r.size
	for name, values := range r.header {
		sent.Header[name] = values
	}
	sent.Header.Set("User-Agent", "noggin")
	sign(sent, b.keys, b.region, r.sum, time.Now())
	answer, err := b.transport.RoundTrip(sent) // follows no redirect
	if err != nil {
		return nil, err
	}
	answer.Body = http.MaxBytesReader(nil, answer.Body, max(mostAnswer, r.most))
	if answer.StatusCode/100 == 2 {
		return answer, nil
	}
	defer release(answer)
	return nil, refusalOf(answer, r.key)
}

// mostRefusal bounds how much of a refusal is read, in bytes.
const mostRefusal = 64 << 10

// refusalOf reads why a server refused. An answer to HEAD has a status only.
func refusalOf(answer *http.Response, key string) refusal {
	why := refusal{status: answer.StatusCode}
	body, err := io.ReadAll(io.LimitReader(answer.Body, mostRefusal))
	if err == nil {
		err = xml.Unmarshal(body, &why)
	}
	if err == nil && why.Code != "" {
		return why
	}
	why.Code, why.Message = http.StatusText(why.status), strings.TrimSpace(string(body))
	if why.status == http.StatusNotFound && key == "" {
		why.Code = noSuchBucket
	}
	return why
}

// release lets the connection be used again, unless the answer goes on.
func release(answer *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, mostRefusal))
	_ = answer.Body.Close()
}

// do sends a request whose answer is its header.
func (b *bucket) do(ctx context.Context, r request) (http.Header, error) {
	answer, err := b.send(ctx, r)
	if err != nil {
		return nil, err
	}
	release(answer)
	return answer.Header, nil
}

// ask sends a request whose answer is a document of XML.
func (b *bucket) ask(ctx context.Context, r request, into any) (http.Header, error) {
	answer, err := b.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer release(answer)
	if err := xml.NewDecoder(answer.Body).Decode(into); err != nil {
		return nil, fmt.Errorf("an answer that cannot be read: %w", err)
	}
	return answer.Header, nil
}

// get returns an object's content, of which the caller expects size bytes.
func (b *bucket) get(ctx context.Context, key string, size int64) (io.ReadCloser, error) {
	answer, err := b.send(ctx, request{method: http.MethodGet, key: key, most: size}) //nolint:bodyclose // the caller does
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

// lockEnabled asks whether the bucket can keep objects from being deleted.
func (b *bucket) lockEnabled(ctx context.Context) (bool, error) {
	var answer struct {
		XMLName           xml.Name `xml:"ObjectLockConfiguration"`
		ObjectLockEnabled string
	}
	_, err := b.ask(ctx, request{method: http.MethodGet, query: url.Values{"object-lock": {""}}}, &answer)
	return answer.ObjectLockEnabled == "Enabled", err
}

// lockHeader makes a PUT lock what it stores. A zero until locks nothing.
func lockHeader(header http.Header, until time.Time) http.Header {
	if !until.IsZero() {
		header.Set("X-Amz-Object-Lock-Mode", "COMPLIANCE")
		header.Set(retainHeader, until.UTC().Format(time.RFC3339))
	}
	return header
}

const retainHeader = "X-Amz-Object-Lock-Retain-Until-Date"

// lock locks the current version of an object.
func (b *bucket) lock(ctx context.Context, key string, until time.Time) error {
	body := []byte(`<Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Mode>COMPLIANCE</Mode><RetainUntilDate>` +
		until.UTC().Format(time.RFC3339) + `</RetainUntilDate></Retention>`)
	sum := md5.Sum(body) //nolint:gosec // as above
	_, err := b.do(ctx, request{
		method: http.MethodPut, key: key, query: url.Values{"retention": {""}},
		header: http.Header{"Content-Md5": {base64.StdEncoding.EncodeToString(sum[:])}},
	}.withBody(body))
	return err
}

// info is what a server says of an object.
type info struct {
	size        int64
	sum         string // its SHA-256 in base64; "": the server keeps none
	versionID   string
	lockedUntil string // a time of RFC 3339
}

func (b *bucket) stat(ctx context.Context, key string) (info, error) {
	answer, err := b.send(ctx, request{method: http.MethodHead, key: key, header: http.Header{"X-Amz-Checksum-Mode": {"ENABLED"}}})
	if err != nil {
		return info{}, err
	}
	release(answer)
	return info{answer.ContentLength, answer.Header.Get(checksumHeader), answer.Header.Get(versionHeader), answer.Header.Get(retainHeader)}, nil
}

const (
	checksumHeader = "X-Amz-Checksum-Sha256"
	versionHeader  = "X-Amz-Version-Id"
)

// part is one of the parts that make up a large object.
type part struct {
	PartNumber     int
	ETag           string
	ChecksumSHA256 string
}

// putParts puts an object in parts, each of which is held in memory. It returns the
// object's version.
func (b *bucket) putParts(ctx context.Context, key string, until time.Time, content io.Reader, size int64) (version string, err error) {
	var upload struct {
		XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
		UploadID string   `xml:"UploadId"`
	}
	header := lockHeader(http.Header{"Content-Type": {octets}, "X-Amz-Checksum-Algorithm": {"SHA256"}}, until)
	if _, err := b.ask(ctx, request{method: http.MethodPost, key: key, query: url.Values{"uploads": {""}}, header: header}, &upload); err != nil {
		return "", err
	}
	id := url.Values{"uploadId": {upload.UploadID}}
	defer func() {
		if err != nil { // else its parts would stay, unseen
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
			defer cancel()
			_, _ = b.do(ctx, request{method: http.MethodDelete, key: key, query: id})
		}
	}()
	var whole struct {
		XMLName xml.Name `xml:"CompleteMultipartUpload"`
		Part    []part
	}
	if whole.Part, err = b.sendParts(ctx, key, upload.UploadID, content, size); err != nil {
		return "", err
	}
	body, err := xml.Marshal(whole)
	if err != nil {
		return "", err
	}
	var done struct {
		XMLName xml.Name
		refusal
	}
	answer, err := b.ask(ctx, request{method: http.MethodPost, key: key, query: id}.withBody(body), &done)
	if err == nil && done.XMLName.Local != "CompleteMultipartUploadResult" { // a failure may come late, after the status
		done.status = http.StatusInternalServerError
		err = done.refusal
	}
	return answer.Get(versionHeader), err
}

// abortTime bounds the request that gives up an object's parts.
const abortTime = 15 * time.Second

func (b *bucket) sendParts(ctx context.Context, key, upload string, content io.Reader, size int64) (parts []part, err error) {
	for buffer := make([]byte, min(size, partSize(size))); size > 0; size -= int64(len(buffer)) {
		buffer = buffer[:min(size, int64(len(buffer)))]
		if _, err := io.ReadFull(content, buffer); err != nil {
			return nil, err
		}
		number, sum := len(parts)+1, sha256.Sum256(buffer)
		sent := part{PartNumber: number, ChecksumSHA256: base64.StdEncoding.EncodeToString(sum[:])}
		answer, err := b.do(ctx, request{
			method: http.MethodPut, key: key, query: url.Values{"partNumber": {strconv.Itoa(number)}, "uploadId": {upload}},
			header: http.Header{checksumHeader: {sent.ChecksumSHA256}},
		}.withBody(buffer))
		if err != nil {
			return nil, fmt.Errorf("part %d: %w", number, err)
		}
		sent.ETag = answer.Get("ETag")
		parts = append(parts, sent)
	}
	return parts, nil
}

// partSize is the size of a part of a large object: there may be 10,000.
func partSize(size int64) int64 { return max(16<<20, size/9000) }

// page is a page of a listing.
type page struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	IsTruncated           bool
	NextContinuationToken string
	EncodingType          string
	Contents              []struct {
		Key          string
		Size         int64
		LastModified time.Time
	}
}

// list returns the page of a listing that token stands for; "" is the first.
func (b *bucket) list(ctx context.Context, prefix, token string) (found page, err error) {
	query := url.Values{"list-type": {"2"}, "prefix": {prefix}, "encoding-type": {"url"}}
	if token != "" {
		query.Set("continuation-token", token)
	}
	if _, err := b.ask(ctx, request{method: http.MethodGet, query: query}, &found); err != nil {
		return page{}, err
	}
	for i, object := range found.Contents {
		if found.EncodingType == "url" {
			if found.Contents[i].Key, err = url.QueryUnescape(object.Key); err != nil {
				return page{}, err
			}
		}
	}
	if found.IsTruncated && found.NextContinuationToken == "" {
		return page{}, errors.New("a listing goes on nowhere")
	}
	return found, nil
}
