package place

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"noggin/batch/files"
)

// lying opens a bucket on a server of the test's own.
func lying(t *testing.T, answer http.HandlerFunc) *S3 {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	s, err := OpenS3(S3Config{Bucket: "copies", Endpoint: server.URL, Region: "us-east-1", PathStyle: true, Keys: Keys{ID: "id", Secret: "secret", Session: "session"}})
	if err != nil {
		t.Fatal(err)
	}
	s.pause = time.Millisecond
	return s
}

// The library reads every answer to its end.
func TestAnAnswerWithoutEndIsCut(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(w http.ResponseWriter){
		"success":         func(w http.ResponseWriter) { w.Header().Set("ETag", `"x"`) },
		"a broken header": func(w http.ResponseWriter) { w.Header().Set("Last-Modified", "today") },
		"a failure":       func(w http.ResponseWriter) { w.WriteHeader(http.StatusTeapot) },
		"a redirect":      func(w http.ResponseWriter) { w.Header().Set("Location", "/"); w.WriteHeader(http.StatusFound) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := lying(t, func(w http.ResponseWriter, r *http.Request) {
				begin(w)
				if r.Method == http.MethodHead { // its answer has no body
					return
				}
				for block := make([]byte, 1<<20); r.Context().Err() == nil; {
					if _, err := w.Write(block); err != nil {
						return
					}
				}
			})
			content := []byte("photo")
			o := objectOf("files/a.jpg", content)
			_, _ = s.Put(t.Context(), o, PutOptions{}, strings.NewReader("photo")) // that it ends is all
			_ = s.Remove(t.Context(), o, "")
			if err := s.List(t.Context(), "backups", func(Found) error { return nil }); err == nil {
				t.Error("zeros are a listing")
			}
			back, err := s.Read(t.Context(), o)
			if err == nil {
				err = Compare(t.Context(), o, back)
				_ = back.Close()
			}
			if err == nil {
				t.Error("zeros are the photograph")
			}
		})
	}
}

func TestASizeThatIsNoneIsNoObject(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{-5, -1, math.MinInt64, math.MaxInt64} {
		s := lying(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != "" {
				_, _ = fmt.Fprintf(w, `<ListBucketResult><Contents><Key>backups/a</Key><Size>%d</Size><LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents></ListBucketResult>`, size)
				return
			}
			w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
			_, _ = w.Write([]byte("short"))
		})
		found := 0
		if err := s.List(t.Context(), "backups", func(f Found) error {
			found++
			content, err := s.Read(t.Context(), Object{Key: f.Key, Size: f.Size})
			if err != nil {
				return err
			}
			defer func() { _ = content.Close() }()
			if err := CopyChecked(&strings.Builder{}, Object{Key: f.Key, Size: f.Size}, content); err == nil {
				t.Errorf("a size of %d: five bytes have it", size)
			}
			return nil
		}); err != nil || found != 1 {
			t.Errorf("a size of %d: %d found, %v", size, found, err)
		}
	}
}

// A page without an object may be followed by another one for ever.
func TestAListingEnds(t *testing.T) {
	t.Parallel()
	pages, last := 0, 0
	s := lying(t, func(w http.ResponseWriter, _ *http.Request) {
		pages++
		_, _ = fmt.Fprintf(w, `<ListBucketResult><IsTruncated>%t</IsTruncated><NextContinuationToken>again</NextContinuationToken></ListBucketResult>`, pages != last)
	})
	if err := s.List(t.Context(), "backups", func(Found) error { return nil }); !errors.Is(err, errEndless) {
		t.Error(err)
	}
	pages, last = 0, mostPages+1 // the files of a large mirror
	if err := s.List(WithLongListing(t.Context()), "files", func(Found) error { return nil }); err != nil || pages != last {
		t.Errorf("%v after %d pages", err, pages)
	}
}

// A server that finds the key taken, or forbids the request, may answer and close while the content is still sent.
// The client then sees a broken connection, each time.
func TestARefusalThatIsLostIsLookedFor(t *testing.T) {
	t.Parallel()
	content, other := bytes.Repeat([]byte("photo"), block), bytes.Repeat([]byte("other"), block)
	o := objectOf("files/a.jpg", content)
	for name, there := range map[string][]byte{"the same": content, "another": other, "nothing": nil, "what is forbidden": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			puts := 0
			s := lying(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodPut && r.Header.Get("If-None-Match") == "":
					got, err := io.ReadAll(r.Body)
					if err != nil {
						t.Error(err)
					}
					there = got
				case r.Method == http.MethodPut:
					puts++
					panic(http.ErrAbortHandler)
				case name == "what is forbidden":
					w.WriteHeader(http.StatusForbidden)
				case there == nil:
					w.WriteHeader(http.StatusNotFound)
				default:
					sum := sha256.Sum256(there)
					w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
					w.Header().Set("Content-Length", strconv.Itoa(len(there)))
					w.Header().Set("X-Amz-Checksum-Sha256", base64.StdEncoding.EncodeToString(sum[:]))
				}
			})
			stored, err := s.Put(t.Context(), o, PutOptions{}, bytes.NewReader(content))
			switch name {
			case "the same":
				if err != nil || !stored.Already || stored.Mended || puts != 1 {
					t.Errorf("%+v, %v after %d requests", stored, err, puts)
				}
			case "another":
				if err != nil || stored.Already || !stored.Mended || !bytes.Equal(there, content) {
					t.Errorf("%+v, %v", stored, err)
				}
			case "what is forbidden":
				if !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "403") || puts != 1 {
					t.Errorf("%v after %d requests", err, puts)
				}
			default:
				if !errors.Is(err, ErrAway) || stored.Already || puts != mostTries {
					t.Errorf("%+v, %v after %d requests", stored, err, puts)
				}
			}
		})
	}
}

// A proxy before the server may answer everything with a page, at once or in the end.
func TestASuccessThatIsNoneOfS3IsNoCopy(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("photo"), 32<<20/5) // more than the kernel takes for a server that does not read
	o := objectOf("files/a.jpg", content)
	page := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<title>Back soon</title>"))
	}
	for name, answer := range map[string]http.HandlerFunc{
		"a page at once": func(w http.ResponseWriter, _ *http.Request) { page(w) },
		"a page at once, with a tag": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"x"`)
			page(w)
		},
		"a page in the end": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			page(w)
		},
		"a server without tags": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
			if r.Method == http.MethodHead {
				sum, _ := hex.DecodeString(o.SHA256)
				w.Header().Set("Content-Length", strconv.FormatInt(o.Size, 10))
				w.Header().Set("X-Amz-Checksum-Sha256", base64.StdEncoding.EncodeToString(sum))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stored, err := lying(t, answer).Put(t.Context(), o, PutOptions{}, bytes.NewReader(content))
			if name == "a server without tags" {
				if err != nil || stored.Already {
					t.Errorf("%+v, %v", stored, err)
				}
			} else if !errors.Is(err, ErrAway) {
				t.Errorf("%+v, %v", stored, err)
			}
		})
	}
}

// Whatever follows the head of a request without content, a server may take for the next
// request. The signature covers the content's hash, also without TLS.
func TestARequestCarriesTheObjectAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 2 * block} {
		content := make([]byte, size)
		o := objectOf("files/a.jpg", content)
		s := lying(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"x"`)
			body, err := io.ReadAll(r.Body)
			if err != nil || !bytes.Equal(body, content) || r.ContentLength != o.Size || r.Header.Get("X-Amz-Content-Sha256") != o.SHA256 {
				t.Errorf("%d bytes are sent as %d, said to be %d with the hash %s: %v", size, len(body), r.ContentLength, r.Header.Get("X-Amz-Content-Sha256"), err)
			}
			if got := r.Header.Get("X-Amz-Security-Token"); got != "session" {
				t.Errorf("the token of the session is %q", got)
			}
		})
		put(t, s, o, content)
	}
}

// transport answers requests without a network.
type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// Each wait for a server that cannot be reached takes long: nothing is looked for there.
func TestNothingIsLookedForOnAServerThatIsAway(t *testing.T) {
	t.Parallel()
	asked := map[string]int{}
	core, err := minio.NewCore("127.0.0.1:1", &minio.Options{
		Creds: credentials.NewStaticV4("id", "secret", ""), Region: "us-east-1", MaxRetries: 1,
		Transport: transport(func(r *http.Request) (*http.Response, error) {
			asked[r.Method]++
			return nil, &net.OpError{Op: "dial", Err: errors.New("no route")}
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &S3{core: core, bucket: "copies", pause: time.Millisecond, single: mostSingle}
	content := []byte("photo")
	if _, err := s.Put(t.Context(), objectOf("a", content), PutOptions{}, bytes.NewReader(content)); !errors.Is(err, ErrAway) {
		t.Error(err)
	}
	if asked[http.MethodHead] > 0 || asked[http.MethodPut] != mostTries {
		t.Errorf("asked %v", asked)
	}
}

// A server that is restarted ends the connection in the midst of an object.
func TestAContentThatBreaksOffIsNoShortOne(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("photo"), 1000)
	o := objectOf("files/a.jpg", content)
	s := lying(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content[:len(content)/2])
	})
	for name, read := range map[string]func(io.Reader) error{
		"copied":   func(back io.Reader) error { return CopyChecked(io.Discard, o, back) },
		"compared": func(back io.Reader) error { return Compare(t.Context(), o, back) },
	} {
		back, err := s.Read(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := read(back); !errors.Is(err, ErrAway) || errors.Is(err, files.ErrDiffers) {
			t.Errorf("%s: %v", name, err)
		}
		files.Release(back)
	}
}

func TestALargeObjectThatIsTooLongDiffers(t *testing.T) {
	t.Parallel()
	content := make([]byte, mostAnswer)
	o := objectOf("files/a.pdf", content)
	s := lying(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		_, _ = w.Write(append(content[:len(content):len(content)], "and more"...))
	})
	back, err := s.Read(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Release(back)
	if err := CopyChecked(io.Discard, o, back); !errors.Is(err, files.ErrDiffers) || errors.Is(err, ErrAway) {
		t.Error(err)
	}
}
