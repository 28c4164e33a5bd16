// Package batch is the work: reading exports, fetching records and their
// attachments, writing them to disk, healing, archiving, checking. It knows
// neither the command line (that is commands) nor HTTP (api) nor SQL (storage).
package batch
