//go:build powertest

package files

import "os"

// isLeftOut tells whether the trial of commands/powercut has this flush left out.
func isLeftOut(at flushPoint) bool { return os.Getenv("NOGGIN_LEAVE_OUT_FLUSH") == string(at) }
