//go:build !powertest

package files

// isLeftOut is false outside of the trial of commands/powercut.
func isLeftOut(flushPoint) bool { return false }
