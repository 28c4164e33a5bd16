package batch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// nearlyFull is the share of a volume in use, in percent, from which runs soon stop.
const nearlyFull = 95

// Disk looks how full the volumes of the configured folders are.
func (v *Validator) Disk(a *Area) {
	all, err := volumes(v.Config.Paths.places())
	if err != nil {
		a.Error("disk", err.Error(), "see that the volume is mounted and this user may look into it")
	}
	for _, vol := range all {
		a.Fact(fmt.Sprintf("volume %s (%s): %s free of %s, %.0f %% used", vol.mount, strings.Join(vol.keys, ", "),
			bytesText(int64(vol.free)), bytesText(int64(vol.total)), vol.used))
		message := fmt.Sprintf("volume %s is %.0f %% full, %s are free", vol.mount, vol.used, bytesText(int64(vol.free)))
		vol.judge(a, "disk", vol.used, message)
		vol.judge(a, "inodes", vol.inodes, fmt.Sprintf("volume %s has %.0f %% of its inodes in use: soon no file can be made", vol.mount, vol.inodes))
	}
}

// judge tells of a volume by how much of it is in use. The manual's red flag is that
// of the output volume.
func (v *volume) judge(a *Area, check string, share float64, message string) {
	switch {
	case share <= DiskFullPercent:
	case share >= nearlyFull || slices.Contains(v.keys, "output"):
		a.Error(check, message, diskRemedy)
	default:
		a.Warn(check, message, diskRemedy)
	}
}

// Folders looks whether the configured folders are there and can be written to, and
// whether the output folder is the mounted one.
func (v *Validator) Folders(a *Area) {
	var toBeMade []string
	for _, p := range v.Config.Paths.places() {
		key := "[paths] " + p.key
		info, err := os.Stat(p.path)
		switch {
		case err == nil && !info.IsDir():
			a.Error("folders", fmt.Sprintf("%s: %s is no folder", key, p.path), "name another in "+key)
		case err == nil:
			if err := mayWrite(p.path); err != nil {
				a.Error("folders", fmt.Sprintf("%s: %s cannot be written to: %v", key, p.path, err), writeAdvice(p.path, err))
			}
		case errors.Is(err, fs.ErrNotExist) && p.key == "output": // told below
		case errors.Is(err, fs.ErrNotExist):
			above := existing(p.path)
			if err := mayWrite(above); err != nil {
				a.Error("folders", fmt.Sprintf("%s: %s is missing, and cannot be made in %s: %v", key, p.path, above, err),
					"mount its volume, or: install -d -o USER "+p.path)
				continue
			}
			toBeMade = append(toBeMade, p.key)
		default:
			a.Error("folders", fmt.Sprintf("%s: %v", key, err), writeAdvice(p.path, err))
		}
	}
	if len(toBeMade) > 0 {
		a.Fact("folders that are made when they are needed: " + strings.Join(toBeMade, ", "))
	}
	v.checkOutput(a, (*Output).CheckWritable)
}

// checkOutput tells whether the output folder is the mounted one.
func (v *Validator) checkOutput(a *Area, check func(*Output) error) (ok bool) {
	output, err := OpenOutput(v.Config.Paths.Output)
	if err == nil {
		defer release(output)
		err = check(output)
	}
	switch {
	case err == nil:
		return true
	case errors.Is(err, ErrNotMounted):
		a.Error("output", fmt.Sprintf("the output folder %s is missing or without its marker %s: its volume is not mounted, or it is not set up", v.Config.Paths.Output, MarkerName),
			"mount its volume; only for a new output folder: noggin init-db")
	default:
		a.Error("output", "the output folder cannot be used: "+err.Error(), writeAdvice(v.Config.Paths.Output, err))
	}
	return false
}

func mayWrite(dir string) error {
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS)
}

func writeAdvice(path string, err error) string {
	if advice := diskAdvice(err); advice != "" {
		return advice
	}
	return "look at it: ls -ld " + path
}
