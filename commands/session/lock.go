package session

import (
	"context"
	"errors"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/commands/cmdline"
	"noggin/storage"
)

// WaitFlag is --wait, of a command that needs the maintenance lock.
func WaitFlag() cli.Flag {
	return cmdline.DurationFlag("wait", "wait at most `DURATION`, such as 2h, for another maintenance or archive to end", 0)
}

// Lock takes the maintenance lock and waits for it as long as --wait says.
func (s *Session) Lock(c *cli.Context) (release func(), err error) {
	err = WhenUnlocked(c, func() (err error) {
		release, err = s.DB.Lock(c.Context, s.Command)
		return err
	})
	return release, err
}

// WhenUnlocked calls fn again while another run holds the lock, for as long as --wait
// says.
func WhenUnlocked(c *cli.Context, fn func() error) error {
	deadline := time.Now().Add(c.Duration("wait"))
	for {
		err := fn()
		if !errors.Is(err, storage.ErrLocked) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-c.Done():
			return context.Cause(c.Context)
		case <-time.After(time.Second):
		}
	}
}
