// Package apitest is a simulated Noggin API. It serves inspection records of all six
// forms, their media and the objects that they refer to out of a made-up world. Faults
// spoil its answers. Only tests, the demo and the benchmark import it; nothing here
// imports noggin's own code, so that both cannot share a mistake.
//
//	Options → World (forms, records, media, entities) ── Edit → versions
//	              ↓
//	request → answer → Fault (the first that meets it) → change, send badly, edit → client
//
// # The world
//
// The world is a pure function of its seed. A tip carries the index of its record, so a
// world of a million records needs no more memory than one of ten. [World.Record] is the
// truth to compare with, [World.Payload] and [World.Media] are the bytes that are served.
//
// # Requests
//
//	GET /rest/object/{apiName}/{tip}   a record
//	GET /media/file?ns=…&tip=…         an attachment, also under /mediaservice
//	GET /tip/{tip}                     a record or an entity: asset, site, person, organization
//	GET /sid/{sid}                     one version of either
//
// Any prefix may stand before the path.
//
// # Versions
//
// A record has two versions from the start: as it was created, without media, and as it
// is served. [World.Edit] adds a version: new $meta.sid, the sid before in $meta.parent,
// a later $meta.modifiedDate, other fields, attachments added, removed or replaced (same
// tip, other bytes). An attachment that was removed is still served, as older versions
// show it.
//
// # Faults
//
// [Fault] says what goes wrong, for which requests and when; [FaultKinds] lists what
// there is. Nothing goes wrong by default. Some things that happen at the platform:
//
//	{Status: 404, Tips: {tip}}                         the record and its media are deleted; RemoveFault returns them
//	{Status: 410, On: OnRecord, Tips: {tip}}           the record alone
//	{Status: 403, Tips: {tip}}, {Status: 401, …}       one record or one attachment is refused
//	{Status: 403, On: OnTip}                           the token may not use /tip
//	{Status: 500, Share: 0.5, ByTip: true, For: 10s}   half of all records and media fail for a time
//	{Kind: "edit", FirstHits: 1}                       each record changes after its first answer
//	{Kind: "stale", Tips: {tip}, Until: 1}             a cache answers with the version before, once
//	{Kind: "reduced", For: 10s}                        nothing but $meta, for a time
//	{Kind: "html", On: OnMedia}, "error-object", "empty-picture", "cut-picture"   200 without a picture
//
// Invariants:
//
//   - The same seed makes the same records, tips, media and unlucky requests.
//   - A request meets at most one fault, the first that matches it.
//   - A fault changes what would have been a 200, save where its kind says otherwise: bad
//     credentials stay a 401.
//   - A version never changes once it was served under its sid.
//   - The server listens on loopback.
package apitest
