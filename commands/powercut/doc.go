// Package powercut proves that noggin flushes in the right order: what the database
// says survives a power cut. It holds tests only.
//
// A trial runs the built program on two volumes, loop devices with ext4 or XFS, and
// cuts them at a random moment without flushing (FS_IOC_SHUTDOWN, NOLOGFLUSH): what
// noggin has not flushed is gone. The process is killed, the volumes are mounted
// again, and the journal is replayed. PostgreSQL lies elsewhere and is not cut, so
// that a row that runs ahead of its file is seen.
//
// One volume has the folders input, processed and output, the other error, archive,
// backups and reports. A cut takes both or one of them. Some moments only kill the
// process: the next run relies on what the killed one did not flush, and is cut at its
// end. A moment is a number of effects: of requests served, of writes that the database
// has committed (the cut comes before noggin hears of it), of changes in the folders.
// The first line of a trial prints its seed; NOGGIN_POWER_SEED repeats the plan.
//
// After each cut these are compared: the database, the files, and the truth, which is
// what the simulated API serves.
//
//   - An attachment that is complete is on disk with its hash, that of bytes which were
//     served; so is a former file. A report is on disk with its hash, or newer where names
//     changed. What the database has in an archive is there, or still on disk.
//   - An archive that was read back is whole.
//   - A copy that is recorded is in the folder of copies, whole. So is each leaf and
//     checkpoint after a `noggin copy run` that ended well.
//   - The key of `noggin seal`, its leaves and its checkpoints are as the last run that
//     ended well left them, and each checkpoint that is there is the one that was signed.
//   - A folder of an export that has its declaration, which is written last, is whole. An
//     export that was cut goes on when it is called again.
//   - A backup that was recorded as good is whole, and what has the name of a backup is.
//   - Each CSV file is in one of the folders, whole. Each of its tips is a record
//     once the file has left the input folder, and each row that cannot be used is in
//     a file of rejected rows.
//   - What a command that ended has reported as moved, removed or restored stays so.
//
// At the end everything runs to completion without cuts: every record is complete, and
// `noggin validate files --deep`, `noggin validate evidence` and `noggin copy verify --deep`
// find nothing.
//
// `make test-power` makes 200 cuts; `make test` has a short form. `make test-power
// FLUSHES=out` builds noggin with the tag powertest, leaves out one flush at a time,
// and expects the trial to find the damage.
//
// It needs root, loop devices, mkfs.ext4 and mkfs.xfs; without one of them it skips.
package powercut
