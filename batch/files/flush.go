package files

import "os"

// A flushPoint is a place where a file, or the entries of a folder, are put on disk.
type flushPoint string

// All flush points. The trial of commands/powercut leaves out each in turn and expects
// damage.
const (
	flushKept     flushPoint = "attachment"     // content, in the output folder
	flushReplaced flushPoint = "report"         // content, in the output folder
	flushRestored flushPoint = "restored file"  // content, in the output folder
	flushAdopted  flushPoint = "adopted file"   // content that another program may have written
	flushFolder   flushPoint = "folder"         // the names of a record's files
	flushEntry    flushPoint = "folder's entry" // the name of a record's folder
	flushRemoval  flushPoint = "removal"        // what is gone from a folder
	flushStaged   flushPoint = "staged file"    // content, in another folder
	flushName     flushPoint = "staged name"    // its name
	flushHashed   flushPoint = "hashed file"    // content: a backup's
	flushPartial  flushPoint = "partial file"   // content: an archive's
	flushFinal    flushPoint = "final name"     // that of an archive or a backup
	flushMade     flushPoint = "made folder"    // the name of a folder that is configured
	flushMoved    flushPoint = "moved file"     // the old and new name of a CSV file
)

// flush puts a file, or the entries of a folder, on disk. Nothing else in noggin does.
func flush(at flushPoint, f *os.File) error {
	if isLeftOut(at) {
		return nil
	}
	return f.Sync()
}
