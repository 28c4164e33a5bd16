package health

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// LeftOut is what imports put into the error folder within the last week.
type LeftOut struct {
	Folder   string
	Unusable []string // files that could not be used
	Rejected []string // files of rejected rows
}

// leftOutMemory is how long a file of the error folder is told of.
const leftOutMemory = 7 * 24 * time.Hour

// reasonSuffix is the end of the name of the file that says why another one is unusable.
// It was written when that one was moved; the other keeps the time of its upload.
const reasonSuffix = ".reason.txt"

// readLeftOut reads the error folder. One that cannot be read is told by `validate config`.
func readLeftOut(folder string, now time.Time) LeftOut {
	l := LeftOut{Folder: folder}
	entries, _ := os.ReadDir(folder)
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, reasonSuffix) || entry.IsDir() {
			continue
		}
		info, err := os.Lstat(filepath.Join(folder, name+reasonSuffix))
		if err != nil {
			info, err = entry.Info()
		}
		switch {
		case err != nil || now.Sub(info.ModTime()) > leftOutMemory:
		case strings.Contains(name, ".rejected") && strings.HasSuffix(name, ".csv"):
			l.Rejected = append(l.Rejected, name)
		default:
			l.Unusable = append(l.Unusable, name)
		}
	}
	return l
}

// judgeLeftOut tells of exports that did not come in, or not whole.
func judgeLeftOut(v *Vitals) Flag {
	l := v.LeftOut
	var what []string
	if n := len(l.Unusable); n > 0 {
		what = append(what, Plural(int64(n), "export")+" could not be used ("+someNames(l.Unusable)+")")
	}
	if n := len(l.Rejected); n > 0 {
		what = append(what, "rows of "+Plural(int64(n), "export")+" were rejected ("+someNames(l.Rejected)+")")
	}
	if len(what) > 0 {
		what = []string{"within the last week " + strings.Join(what, ", and ")}
	}
	remedy := fmt.Sprintf("look into %s: a .reason.txt says why a file could not be used, a .rejected.csv why a row; put what is corrected into [paths] input, and remove from the folder what is settled", l.Folder)
	var lost []string
	for _, export := range v.NeverImported {
		lost = append(lost, path.Base(export.Path)+" by the host "+export.Host)
	}
	if n := len(lost); n > 0 {
		what = append(what, Plural(int64(n), "export was|exports were")+" fetched and never imported ("+someNames(lost)+")")
		remedy += "; what was fetched and never imported is in the input folder of its host, or lost: put it, from the server of its source, into [paths] input"
	}
	if len(what) == 0 {
		return Flag{}
	}
	return yellow("exports_left_out", strings.Join(what, ", and "), remedy)
}

// someNames lists the first names.
func someNames(names []string) string {
	const most = 3
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}
