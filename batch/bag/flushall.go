//go:build !powertest

package bag

// isLeftOut is false outside of the trial of commands/powercut.
func isLeftOut() bool { return false }
