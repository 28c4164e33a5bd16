package place

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"noggin/batch/copies/place/s3test"
	"noggin/batch/files"
)

// bucketOn makes a bucket on the server and opens it.
func bucketOn(t testing.TB, server *s3test.Server, bucket string, locked bool) *S3 {
	t.Helper()
	s, err := OpenS3(S3Config{
		Bucket: bucket, Prefix: "mirror", Endpoint: server.URL, Region: "us-east-1", PathStyle: true,
		Keys: Keys{ID: s3test.KeyID, Secret: s3test.Secret}, Idle: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.pause = time.Millisecond
	server.MakeBucket(t, bucket, locked)
	return s
}

func objectOf(key string, content []byte) Object {
	sum := sha256.Sum256(content)
	hexSum := hex.EncodeToString(sum[:])
	return Object{key + "." + hexSum, int64(len(content)), hexSum}
}

func put(t testing.TB, p interface {
	Put(context.Context, Object, PutOptions, io.Reader) (Stored, error)
}, o Object, content []byte,
) Stored {
	t.Helper()
	stored, err := p.Put(t.Context(), o, PutOptions{}, bytes.NewReader(content))
	if err != nil {
		t.Fatalf("put %s: %v", o.Key, err)
	}
	return stored
}

func TestABucketGetsEachObjectOnceInOneRequest(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	s := bucketOn(t, server, "copies", false)
	for _, size := range []int{0, 1, block - 1, block, block + 1, 5*block + 17} {
		content := bytes.Repeat([]byte{byte(size), 7}, size)[:size]
		o := objectOf("files/2025/a b+ü.jpg", content)
		before := server.Requests.Load()
		if stored := put(t, s, o, content); stored.Already || stored.Mended {
			t.Errorf("%d bytes: %+v", size, stored)
		}
		if n := server.Requests.Load() - before; n != 1 {
			t.Errorf("%d bytes took %d requests", size, n)
		}
		if stored := put(t, s, o, content); !stored.Already {
			t.Errorf("%d bytes again: %+v", size, stored)
		}
		if err := s.Look(t.Context(), o); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		back, err := s.Read(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := Compare(t.Context(), o, back); err != nil {
			t.Errorf("%d bytes back: %v", size, err)
		}
		files.Release(back)
	}
}

func TestOtherContentNeverBecomesAnObject(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	s := bucketOn(t, server, "copies", false)
	content := bytes.Repeat([]byte("photo"), block)
	o := objectOf("files/a.jpg", content)
	flipped := bytes.Clone(content)
	flipped[len(flipped)-1] ^= 1
	for name, wrong := range map[string][]byte{"flipped": flipped, "short": content[:len(content)-1], "long": append(bytes.Clone(content), 0), "empty": nil} {
		_, err := s.Put(t.Context(), o, PutOptions{}, bytes.NewReader(wrong))
		if !errors.Is(err, ErrSource) || !errors.Is(err, files.ErrDiffers) {
			t.Errorf("%s content: %v", name, err)
		}
	}
	if _, err := s.Put(t.Context(), objectOf("files/empty.txt", nil), PutOptions{}, strings.NewReader("x")); !errors.Is(err, ErrSource) || !errors.Is(err, files.ErrDiffers) {
		t.Errorf("content instead of none: %v", err)
	}
	if err := s.Look(t.Context(), o); !errors.Is(err, files.ErrMissing) {
		t.Errorf("after damaged originals: %v", err)
	}
	if err := s.Remove(t.Context(), o, ""); err != nil {
		t.Errorf("removing a missing object: %v", err)
	}
}

func TestAnObjectThatSomebodyReplacedIsFoundByItsChecksum(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	s := bucketOn(t, server, "copies", false)
	content, other := []byte("a photograph"), []byte("b photograph")
	o, theirs := objectOf("files/a.jpg", content), objectOf("", other)
	theirs.Key = o.Key
	put(t, s, theirs, other)
	before := server.Requests.Load()
	if err := s.Look(t.Context(), o); !errors.Is(err, files.ErrDiffers) || server.Requests.Load() != before+1 {
		t.Errorf("%v, %d requests", err, server.Requests.Load()-before)
	}
}

func TestADamagedObjectIsReplaced(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	s := bucketOn(t, server, "copies", false)
	content := []byte("a photo")
	o := objectOf("files/a.jpg", content)
	put(t, s, o, content)
	if err := os.WriteFile(server.Path("copies", "mirror/"+o.Key), []byte("rotten!"), 0o644); err != nil {
		t.Fatal(err)
	}
	back, err := s.Read(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := Compare(t.Context(), o, back); !errors.Is(err, files.ErrDiffers) {
		t.Errorf("a rotten object is read as %v", err)
	}
	files.Release(back)
	// Another program's object, with a checksum of its own.
	other := objectOf("x", []byte("other content"))
	if err := s.Remove(t.Context(), o, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.core.Client.PutObject(t.Context(), "copies", "mirror/"+o.Key, strings.NewReader("other!!"), 7, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Look(t.Context(), o); !errors.Is(err, files.ErrDiffers) {
		t.Errorf("other content looks like %v, want that it differs (%s)", err, other.Key)
	}
	if stored := put(t, s, o, content); !stored.Mended || stored.Already {
		t.Errorf("other content under the key: %+v", stored)
	}
	if err := s.Look(t.Context(), o); err != nil {
		t.Error(err)
	}
	// An archived file can be read only once.
	if err := os.WriteFile(server.Path("copies", "mirror/"+o.Key), []byte("rotten!"), 0o644); err != nil {
		t.Fatal(err)
	}
	once := func() io.Reader { return io.MultiReader(bytes.NewReader(content)) }
	if stored, err := s.Put(t.Context(), o, PutOptions{Doubt: true}, once()); err != nil || !stored.Mended {
		t.Errorf("a rotten object of an archived file: %+v, %v", stored, err)
	}
	if stored, err := s.Put(t.Context(), o, PutOptions{Doubt: true}, once()); err != nil || !stored.Already {
		t.Errorf("the whole object of an archived file: %+v, %v", stored, err)
	}
}

func TestALockedObjectCannotBeDeleted(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	plain, locked := bucketOn(t, server, "plain", false), bucketOn(t, server, "locked", true)
	if err := plain.CheckLock(t.Context()); !errors.Is(err, ErrNoLock) {
		t.Errorf("a bucket without Object Lock: %v", err)
	}
	if err := locked.CheckLock(t.Context()); err != nil {
		t.Errorf("a bucket with Object Lock: %v", err)
	}
	content := []byte("a photo")
	o := objectOf("files/a.jpg", content)
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	stored, err := locked.Put(t.Context(), o, PutOptions{Retain: until}, bytes.NewReader(content))
	if err != nil || stored.VersionID == "" {
		t.Fatal(stored, err)
	}
	if err := locked.Remove(t.Context(), o, stored.VersionID); !errors.Is(err, ErrLocked) {
		t.Errorf("deleting a locked version: %v", err)
	}
	if err := locked.Look(t.Context(), o); err != nil {
		t.Errorf("the locked object: %v", err)
	}
	// One that was put without a lock gets it when it is put again.
	report := objectOf("files/report.txt", []byte("text"))
	first := put(t, locked, report, []byte("text"))
	if again, err := locked.Put(t.Context(), report, PutOptions{Retain: until}, strings.NewReader("text")); err != nil || !again.Already {
		t.Errorf("%+v, %v", again, err)
	}
	if err := locked.Remove(t.Context(), report, first.VersionID); !errors.Is(err, ErrLocked) {
		t.Errorf("deleting a version that was locked later: %v", err)
	}
	for _, o := range []Object{o, report} { // else an administrator can take the lock off
		if info, err := locked.stat(t.Context(), o); err != nil || info.Metadata.Get("X-Amz-Object-Lock-Mode") != "COMPLIANCE" {
			t.Errorf("%s is locked in the mode %q, %v", o.Key, info.Metadata.Get("X-Amz-Object-Lock-Mode"), err)
		}
	}
	// One that is locked is locked for longer when it is put again.
	longer := until.Add(100 * 24 * time.Hour)
	if again, err := locked.Put(t.Context(), o, PutOptions{Retain: longer}, bytes.NewReader(content)); err != nil || !again.Already {
		t.Errorf("%+v, %v", again, err)
	}
	info, err := locked.stat(t.Context(), o)
	if at, parseErr := time.Parse(time.RFC3339, info.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date")); err != nil || parseErr != nil || !at.Equal(longer) {
		t.Errorf("locked until %v, want %v, %v, %v", at, longer, err, parseErr)
	}
	free := put(t, locked, objectOf("files/free.txt", []byte("free")), []byte("free"))
	if err := locked.Remove(t.Context(), objectOf("files/free.txt", []byte("free")), free.VersionID); err != nil {
		t.Errorf("deleting a version without a lock: %v", err)
	}
}

func TestBrokenConnectionsAreTriedAgainAndAServerThatIsGoneIsAway(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	s := bucketOn(t, server, "copies", false)
	content := bytes.Repeat([]byte("photo"), 100_000)
	o := objectOf("files/a.jpg", content)
	server.Cut(200_000)
	if _, err := s.Put(t.Context(), o, PutOptions{}, bytes.NewReader(content)); !errors.Is(err, ErrAway) {
		t.Errorf("connections that always break: %v", err)
	}
	server.Up()
	if err := s.Look(t.Context(), o); !errors.Is(err, files.ErrMissing) {
		t.Errorf("half an object: %v", err)
	}
	put(t, s, o, content)
	server.Down()
	for name, err := range map[string]error{
		"check": s.Check(t.Context()), "look": s.Look(t.Context(), o), "remove": s.Remove(t.Context(), o, ""),
		"list": s.List(t.Context(), "files", func(Found) error { return nil }),
	} {
		if !errors.Is(err, ErrAway) {
			t.Errorf("%s of a server that is gone: %v", name, err)
		}
	}
	server.Up()
	gone, err := OpenS3(S3Config{Bucket: "no-such-bucket", Endpoint: server.URL, Region: "us-east-1", PathStyle: true, Keys: Keys{ID: s3test.KeyID, Secret: s3test.Secret}})
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Check(t.Context()); !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "no such bucket") {
		t.Errorf("a bucket that is missing: %v", err)
	}
	refused, err := OpenS3(S3Config{Bucket: "copies", Endpoint: server.URL, Region: "us-east-1", PathStyle: true, Keys: Keys{ID: s3test.KeyID, Secret: "wrong-secret-of-a-stranger"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := refused.Check(t.Context()); !errors.Is(err, ErrAway) || strings.Contains(err.Error(), "wrong-secret") {
		t.Errorf("refused credentials: %v", err)
	}
	if _, err := refused.Put(t.Context(), o, PutOptions{}, bytes.NewReader(content)); !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "403") {
		t.Errorf("refused credentials: %v", err)
	}
}

func TestABucketIsListedBelowAFolder(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	s := bucketOn(t, server, "copies", false)
	for _, name := range []string{"backups/a", "backups/b", "files/c"} {
		put(t, s, objectOf(name, []byte(name)), []byte(name))
	}
	var found []string
	err := s.List(t.Context(), "backups", func(f Found) error {
		found = append(found, f.Key)
		if f.Size != 9 || time.Since(f.Modified).Abs() > time.Hour {
			t.Errorf("%+v", f)
		}
		return nil
	})
	if err != nil || len(found) != 2 || !strings.HasPrefix(found[0], "backups/a.") {
		t.Errorf("%v, %v", found, err)
	}
}

func TestALargeObjectGoesInParts(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	s := bucketOn(t, server, "copies", false)
	s.single = 1 << 20
	if size := int64(5 << 40); partSize(size)*10_000 < uint64(size) {
		t.Errorf("the largest object has more than 10,000 parts of %d bytes", partSize(size))
	}
	content := bytes.Repeat([]byte("0123456789abcdef"), 18<<16) // two parts
	o := objectOf("backups/large.dump", content)
	put(t, s, o, content)
	if err := s.Look(t.Context(), o); err != nil {
		t.Error(err)
	}
	content[3]++
	if _, err := s.Put(t.Context(), objectOf("backups/other.dump", []byte("x")), PutOptions{}, bytes.NewReader(content)); !errors.Is(err, files.ErrDiffers) {
		t.Errorf("other content in parts: %v", err)
	}
	if keys := server.Keys(t, "copies"); len(keys) != 1 {
		t.Errorf("the bucket has %v", keys)
	}
}

func TestABucketIsTriedWithASmallObject(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	plain, locked := bucketOn(t, server, "plain", false), bucketOn(t, server, "locked", true)
	for range 2 {
		if faults, err := plain.Try(t.Context(), false); err != nil || len(faults) > 0 {
			t.Errorf("a bucket: %+v, %v", faults, err)
		}
		if faults, err := locked.Try(t.Context(), true); err != nil || len(faults) > 0 {
			t.Errorf("a bucket with Object Lock: %+v, %v", faults, err)
		}
	}
	if faults, err := plain.Try(t.Context(), true); err != nil || len(faults) != 1 || faults[0].Check != "lock" {
		t.Errorf("a bucket that is to lock and cannot: %+v, %v", faults, err)
	}
	if keys := server.Keys(t, "plain"); len(keys) > 0 {
		t.Errorf("a probe stays: %v", keys)
	}
}
