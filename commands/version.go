package commands

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"noggin/commands/cmdline"
	"noggin/commands/show"
)

// versionInfo says which build this is.
type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go_version"`
}

func versionCommand(version versionInfo) *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "show version, commit and Go version (also: noggin --version)",
		Flags: []cli.Flag{cmdline.FormatFlag("text", "json")},
		Action: func(c *cli.Context) error {
			return runVersion(cmdline.Output(c), version)
		},
	}
}

func runVersion(out show.Output, v versionInfo) error {
	if out.Format == show.JSON {
		return out.JSON(v)
	}
	_, err := fmt.Fprintf(out, "noggin %s (commit %s, %s)\n", v.Version, v.Commit, v.Go)
	return err
}

// readVersion returns the version that the linker was given, else what Go recorded
// during the build.
func readVersion(linked string) versionInfo {
	v := versionInfo{Version: linked, Commit: "unknown", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if v.Version == "" && ok {
		v.Version = info.Main.Version
	}
	if v.Version == "" {
		v.Version = "unknown"
	}
	if !ok {
		return v
	}
	changed := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			changed = s.Value == "true"
		}
	}
	if changed {
		v.Commit += " with changes"
	}
	return v
}
