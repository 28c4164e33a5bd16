// Package cmdline reads the command line and tells about it: [Parse] brings flags into
// the order that urfave/cli wants, [PrintHelp] writes help, [Complete] says what may
// follow, [DescribeFlags] and [Describe] feed help, completion and the manual pages.
// It has the flags that several commands take, and the errors that bring their own
// exit code and hints.
//
// It knows the shape of commands, not any one of them, and neither configuration nor
// database: what only these explain, [Complete] asks its caller for. Which error of the
// work has which exit code is decided in session.
//
// Invariants:
//   - A flag may stand anywhere behind its command. What no command knows is a usage
//     error, never ignored: a --dry-run that is overlooked does harm.
//   - Help, completion and manual pages come from the same flags and descriptions.
//   - A wrong flag is an error made with [Usagef], and names what is allowed.
package cmdline
