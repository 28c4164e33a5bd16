// Package batch is the work of noggin: it takes exports in, fetches records and their
// attachments, writes them to disk, heals names, archives and checks. The work itself
// lies in the rooms below this folder, one for each activity. Here lies only [Config],
// which is made of the rooms' own.
//
// # Words
//
// One word stands for one thing, in code, SQL, flags, help, logs and documents.
//
//   - record: one inspection, and its row in noggin_data. The queue is made of
//     the records that are due.
//   - tip: the platform's key of an object, mostly 64 hexadecimal digits. A bare
//     "tip" is the tip of a record.
//   - inspection id: the number that people use for a record, such as
//     LCD - 045289. It is shown and searched; it is never a key.
//   - form: a kind of inspection, such as LCD. It is what object_type means in
//     code, columns and flags. Forms are data: a new one is a new entry.
//   - attachment: a file that belongs to a record: a photograph, a signature, a
//     PDF. It has a tip of its own.
//   - media reference: the address of an attachment, as the record's answer
//     gives it: /media/file?ns=…&tip=….
//   - hash: the tip of a vehicle, trailer, department, team, customer or person
//     to which a record refers. "SHA-256" stands for the hash of a file's bytes.
//   - name: the text that people use for such an entity. A hash without a name
//     is an unknown hash.
//   - heal: write a record's columns and text report again, with the names that
//     are known now. Healing sends no request to the API.
//   - run: one execution of a command that is recorded in the table runs. It
//     begins, counts what it does and ends; "attempt" is one try of a request.
//   - claim: the sole right of a run to change a record and its files. Every
//     write checks the claim's token, so a run that lost it writes nothing.
//   - lease: the time for which a claim holds. The run renews it. When it ends,
//     another run may claim the record.
//   - counted failure: a failure that says something about the record itself: the
//     witness was answered after it. Outages, full disks and interruptions are not
//     counted.
//   - permanently failed: a record that is not asked for again, as it failed too
//     often or does not exist at the platform. Only a person brings it back.
//   - circuit: the switch before all requests of all hosts. Closed lets them
//     through. Open lets none through, as the API is not available. Half-open
//     lets a few through to find out.
//   - witness: a request for something that is known to be there: a record that
//     was complete or an attachment that was valid. Its answer tells a failure of
//     the API from a failure of one record.
//   - version: one state of a record at the platform, with a key of its own (the
//     sid). Former versions stay stored beside the current one.
//   - archive: a noggin-YYYY-MM.tar.zst with the attachments and text reports of
//     one month. The originals leave the disk after it was read back and compared.
//   - log: the list of what was mirrored, to which `noggin seal` only ever appends. Its
//     entries are leaves, one for each version of a record; their hashes form a Merkle
//     tree with one root. A checkpoint is a log's name, size and root, signed.
//   - bag: a folder or a ZIP whose files are listed with their SHA-256 (BagIt, RFC 8493).
//     An export is one.
//   - copy: a file in a second place, a target: a folder on another volume or a bucket of
//     S3. A copy is verified when it was looked for there and found as it should be.
//   - replaced service: the Python program that did this work before noggin. Its
//     schema is noggin_legacy.
//
// # Rooms
//
// An arrow says which rooms a room imports. Each room may import only rooms that stand
// below it, so there is no cycle. The linter holds every arrow (.golangci.yml). No room
// imports this package; the commands do.
//
//	maintain    backups, rotation, reviews, emergencies           → archive health files forms
//	seal        a signed log of what was mirrored, and its proof   → tree canonical validate health files forms
//	  tree      the log's Merkle tree, and its checkpoints
//	  canonical the JSON of its leaves
//	export      records for people who have no noggin             → archive textreport bag files forms
//	validate    finds what is wrong, and mends it                 → archive health files forms
//	copies      a copy of every file in a second place, and back  → shelf archive watch claims files forms
//	  place     folders and S3 buckets that hold copies           → files
//	  shelf     reads single files out of archives                → archive files
//	archive     old records into archives, and back               → format queue health claims watch files forms
//	  format    the file format of archives                       → files forms
//	process     drains the queue                                  → adopt gate names search health textreport media files forms
//	adopt       finds the files of a record that are on disk      → textreport media files forms
//	sources     exports from SFTP servers                         → files
//	names       names in and out, healing                         → search textreport csvfile files forms
//	importcsv   exports into the queue                            → csvfile files forms
//	gate        what stands before a request, and judges failures → forms
//	queue       finding records, skip and undo                    → csvfile files forms
//	views       a readable view of the database for each form     → forms
//	search      the words by which inspections are found          → textreport forms
//	health      vitals, red flags, advice, disk forecast          → watch files
//	textreport  the text report of a record                       → forms
//	csvfile     reading and writing CSV files                     → forms
//	  watch     whether archives are there; part of archive       → files
//	files       the output folder, and every file written         → forms
//	bag         writing and checking BagIt bags
//	claims      claims of whoever changes records outside process
//	media       what kind of file it is, and whether it is whole
//	forms       the kinds of inspection, their answers and names
//
// batchtest helps the tests of several rooms. Below all rooms lie api, which alone
// speaks HTTP, and storage, which alone speaks SQL. Above them lies commands, which
// alone knows the command line.
//
// # Which room for a change
//
//   - A form, a field or a file name: forms, or only the configuration.
//   - A date format: forms. A separator or an encoding of exports: csvfile.
//   - An SFTP server: sources.
//   - What is copied: the triggers in schema.sql. Where to: copies/place.
//   - A type of attachment: media.
//   - When a failure counts or opens the circuit: gate. When a record is repeated: process.
//   - Which file on disk spares a download, or becomes a former file: adopt.
//   - A red flag or a piece of advice: health. A finding: validate.
package batch
