package validate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"noggin/batch/files"
	"noggin/batch/health"
)

// nearlyFull is the use of a volume, in percent, from which runs will soon stop.
const nearlyFull = 95

// Disk checks how full the volumes of the configured folders are.
func (v *Validator) Disk(a *Area) {
	all, err := files.Volumes(v.Paths.Places())
	if err != nil {
		a.Error("disk", err.Error(), "check that the volume is mounted and that this user may read it")
	}
	for _, vol := range all {
		a.Fact(fmt.Sprintf("volume %s (%s): %s free of %s, %.0f %% used", vol.Mount, strings.Join(vol.Keys, ", "),
			health.BytesText(int64(vol.Free)), health.BytesText(int64(vol.Total)), vol.Used))
		message := fmt.Sprintf("volume %s is %.0f %% full, %s are free", vol.Mount, vol.Used, health.BytesText(int64(vol.Free)))
		v.judgeVolume(a, vol, "disk", vol.Used, message)
		v.judgeVolume(a, vol, "inodes", vol.Inodes, fmt.Sprintf("volume %s has %.0f %% of its inodes in use: at 100 %% no file can be created", vol.Mount, vol.Inodes))
	}
}

// judgeVolume adds a finding for a full volume. The output volume is an error earlier than
// others, as in the manual's red flags.
func (v *Validator) judgeVolume(a *Area, vol *files.Volume, check string, share float64, message string) {
	switch {
	case share <= health.DiskFullPercent:
	case share >= nearlyFull || slices.Contains(vol.Keys, "output"):
		a.Error(check, message, health.DiskRemedy(v.Paths))
	default:
		a.Warn(check, message, health.DiskRemedy(v.Paths))
	}
}

// Folders checks that the configured folders exist and can be written to, and that the
// output folder has its marker.
func (v *Validator) Folders(a *Area) {
	var toBeMade []string
	for _, p := range v.Paths.Places() {
		key := "[paths] " + p.Key
		info, err := os.Stat(p.Path)
		switch {
		case err == nil && !info.IsDir():
			a.Error("folders", fmt.Sprintf("%s: %s is not a folder", key, p.Path), "set "+key+" to a folder")
		case err == nil:
			if err := mayWrite(p.Path); err != nil {
				a.Error("folders", fmt.Sprintf("%s: %s cannot be written to: %v", key, p.Path, err), writeAdvice(p.Path, err))
			}
		case errors.Is(err, fs.ErrNotExist) && p.Key == "output": // checkOutput reports it
		case errors.Is(err, fs.ErrNotExist):
			above := files.Existing(p.Path)
			if err := mayWrite(above); err != nil {
				a.Error("folders", fmt.Sprintf("%s: %s is missing and cannot be created in %s: %v", key, p.Path, above, err),
					"mount its volume, or: install -d -o USER "+files.ShellQuoted(p.Path))
				continue
			}
			if p.Key == "input" { // import-csv does not make it: its volume may not be mounted
				a.Warn("folders", fmt.Sprintf("%s: %s is missing, and import-csv waits for it", key, p.Path), "mount its volume, or: install -d -o USER "+files.ShellQuoted(p.Path))
				continue
			}
			toBeMade = append(toBeMade, p.Key)
		default:
			a.Error("folders", fmt.Sprintf("%s: %v", key, err), writeAdvice(p.Path, err))
		}
	}
	if len(toBeMade) > 0 {
		a.Fact("folders that noggin creates when it needs them: " + strings.Join(toBeMade, ", "))
	}
	v.checkOutput(a, (*files.Output).CheckWritable)
}

// checkOutput checks that the output folder has its marker, so that its volume is
// mounted.
func (v *Validator) checkOutput(a *Area, check func(*files.Output) error) (ok bool) {
	output, err := files.OpenOutput(v.Paths.Output)
	if err == nil {
		defer files.Release(output)
		err = check(output)
	}
	switch {
	case err == nil:
		return true
	case errors.Is(err, files.ErrNotMounted):
		a.Error("output", fmt.Sprintf("the output folder %s or its marker %s is missing: the volume is not mounted, or the folder is not set up", v.Paths.Output, files.MarkerName),
			"mount its volume; for a new output folder only: `noggin init-db`")
	default:
		a.Error("output", "the output folder cannot be used: "+err.Error(), writeAdvice(v.Paths.Output, err))
	}
	return false
}

func mayWrite(dir string) error {
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS)
}

func writeAdvice(path string, err error) string {
	if advice := files.DiskAdvice(err); advice != "" {
		return advice
	}
	return "check its owner and mode: ls -ld " + files.ShellQuoted(path)
}
