// Package audit is the tamper-evident account of what a node decided: for whom records were sealed
// and from whom they were withheld, what was disclosed to whom, what was erased, and every change of
// trust (promise I8).
//
// A log is an append-only Merkle tree as of RFC 6962, made and proven by golang.org/x/mod/sumdb/tlog.
// Its leaves hold commitments only: version, kind of act, UTC day, and SHA-256(salt || details). They
// say nothing of whom or what an entry is about, so they may be handed out whole. The details lie
// beside the tree, each wrapped under a key of its own ([KV].Wrap); to erase them destroys that key,
// and appends a leaf that says on whose authority it was done. The tree, and every proof and
// checkpoint ever made of it, goes on verifying.
//
// Checkpoints are signed notes in the form of C2SP tlog-checkpoint, so others' tools verify them.
// A log verifies against any checkpoint of it that somebody kept: one that was shortened, changed
// or begun anew from an earlier state does not.
//
// A log belongs to one node and one stretch of its data: a restored node, or one whose data went
// back in time, begins another, whose first entry names those that it holds of before.
//
// The package keeps its data in an ordered key space, [KV], inside the transactions of its caller,
// so that an act and its entry are written together. Layout, below [Prefix]; a log is named by 16
// random bytes, numbers being 8 bytes big-endian:
//
//	a                   log that is appended to
//	c log size          checkpoint of that size
//	d log number        details of an entry, wrapped; or, once erased, the number of the entry that
//	                    says so
//	f log name          number of an entry that AppendOnce made; name is an HMAC of its details
//	h log index         hash, as tlog numbers stored hashes
//	i log               who keeps the log
//	l log number        leaf
//	q log day who       how many entries there were on a day of what an organisation did, or a person was
//	                    refused; who is an HMAC
//	s log               how many entries it has
//	v x y               the index; see index.go
package audit
