// Package postgres keeps a copy of a node's corpus in PostgreSQL: for searches that outgrow one machine,
// for several nodes of one organisation, and for analysts who join it with what they have.
//
// The node's own corpus stays the truth. It lives in the node's own transactions: opening an envelope,
// indexing its records and the mark "applied" commit together, and erasing destroys the keys of blocks.
// No other database can take part in that. So a [Mirror] follows the node's changes: a batch of them and
// the position behind them commit in one transaction here, whence a crash anywhere neither loses nor
// doubles. It does not replay changes: for each record that one of them is about it writes how the record
// stands now (corpus.Standing), so that a batch may come again, in parts or late, and says the same.
//
// Tables, in the schema entente (migrations/ has them with a comment on each column):
//
//	records        what is the same of a record wherever it is held: object, handling
//	observables    what records are found by
//	holdings       which mirror holds which record, under which cursor, from whom, withdrawn or not
//	tombstones     what was erased, by whose word: looked at before anything is written
//	organisations  the names of those whom records are of
//	mirrors        the data directories that write here, with their positions
//	writer         one line: who writes has locked it; whose database it is
//
// A record is there as long as somebody holds it. One writer at a time, whichever node it is of, holds
// the line of writer: what a transaction finds of records, holdings and tombstones is then still so when it
// commits, on every engine and at every level of isolation, and nobody adds what another erases.
//
// # Mirrors
//
// A position means something only for the history of changes that it was counted in. The node's data
// directory has a random id, which is in no backup, and a list of the runs of the node with the cursor that
// each began at; the line in mirrors names the run that wrote last. A data directory that does not know that
// run, or began its next one before what was written here, went back in time: it takes a new id, and so a
// new mirror, which begins anew. When that is whole, the old one's holdings are removed. Two processes with
// one data directory displace each other's run, and the displaced one stops writing.
package postgres
