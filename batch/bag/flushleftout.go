//go:build powertest

package bag

import "os"

// isLeftOut tells whether the trial of commands/powercut has the flush left out.
func isLeftOut() bool { return os.Getenv("NOGGIN_LEAVE_OUT_FLUSH") == "bag" }
