package place

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"noggin/batch/files"
)

// Fault is something that a place does not do as it should.
type Fault struct {
	Check   string // its name, never renamed
	Message string
	Remedy  string
}

const (
	probeText = "This object tries whether the target works.\n"
	probeLock = time.Minute
)

// probe is the object with which a place is tried.
func probe() Object {
	sum := sha256.Sum256([]byte(probeText))
	return Object{"validate/probe." + hex.EncodeToString(sum[:]), int64(len(probeText)), hex.EncodeToString(sum[:])}
}

// Try puts a small object, puts it again, reads it and removes it. An error means that
// the bucket could not be tried to the end. With lock, the object must be refused to be
// deleted; it stays, and the next Try removes it.
func (s *S3) Try(ctx context.Context, lock bool) (faults []Fault, err error) {
	o, until := probe(), time.Time{}
	if lock {
		until = time.Now().Add(probeLock).Truncate(time.Second)
		if err := s.CheckLock(ctx); errors.Is(err, ErrNoLock) {
			return []Fault{{"lock", err.Error(), "make a bucket with Object Lock, or take [copy] retain out of the configuration"}}, nil
		} else if err != nil {
			return nil, err
		}
	}
	if err := s.removeProbe(ctx, o); err != nil {
		return nil, err
	}
	stored, err := s.Put(ctx, o, PutOptions{Retain: until}, bytes.NewReader([]byte(probeText)))
	if err != nil {
		return nil, err
	}
	again, err := s.Put(ctx, o, PutOptions{}, bytes.NewReader([]byte(probeText)))
	if err != nil {
		return nil, err
	}
	if !again.Already {
		faults = append(faults, Fault{"overwrite", s.at + ": the server takes a second object under one key: it ignores If-None-Match", "use a server that knows conditional writes: with this one, two hosts may send a file twice"})
	}
	info, err := s.stat(ctx, o)
	if err != nil {
		return faults, s.classify(ctx, err)
	}
	if info.ChecksumSHA256 == "" {
		faults = append(faults, Fault{"checksum", s.at + ": the server keeps no SHA-256 of its objects, so verifying reads every one back", "use a server that knows x-amz-checksum-sha256"})
	}
	if stored.VersionID == "" {
		stored.VersionID = version(info.VersionID)
	}
	err = s.Remove(ctx, o, stored.VersionID)
	switch {
	case lock && err == nil:
		faults = append(faults, Fault{"lock", s.at + ": the server deleted an object that was locked", "use a server whose Object Lock holds in compliance mode: with this one [copy] retain promises nothing"})
	case !lock && errors.Is(err, ErrLocked):
		faults = append(faults, Fault{"delete", err.Error(), "allow s3:DeleteObject and s3:DeleteObjectVersion, or take the bucket's default retention out: copies of replaced reports and old backups cannot be removed"})
	case errors.Is(err, ErrLocked):
	case err != nil:
		return faults, err
	}
	return faults, nil
}

// removeProbe removes what an earlier Try left, unless it is still locked.
func (s *S3) removeProbe(ctx context.Context, o Object) error {
	info, err := s.stat(ctx, o)
	if err = s.classify(ctx, err); err == nil {
		err = s.Remove(ctx, o, version(info.VersionID))
	}
	if errors.Is(err, files.ErrMissing) || errors.Is(err, ErrLocked) {
		return nil
	}
	return err
}

// Try puts a small object, puts it again, reads it and removes it.
func (f *Folder) Try(ctx context.Context) error {
	o := probe()
	for range 2 {
		if _, err := f.Put(ctx, o, PutOptions{}, bytes.NewReader([]byte(probeText))); err != nil {
			return err
		}
	}
	if err := f.Flush(); err != nil {
		return err
	}
	content, err := f.Read(ctx, o)
	if err != nil {
		return err
	}
	defer files.Release(content)
	if err := Compare(ctx, o, content); err != nil {
		return fmt.Errorf("%w: what was written is read back as something else: %w", ErrAway, err)
	}
	return f.Remove(ctx, o, "")
}
