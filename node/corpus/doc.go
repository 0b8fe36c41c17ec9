// Package corpus is what an organisation can read: the records that were opened and may be
// used, found by their id, by what they say, and in the order in which they came.
//
// It keeps its data in an ordered key space, [KV], inside the transactions of its caller.
// A record stands once, in a compressed block; an [Index] says in which. Layout, cursors, times
// and numbers being 8 bytes big-endian, hash(x) the first 16 bytes of SHA-256(x):
//
//	cb cursor                   block; cursor is that of its first record
//	cs                          salt of the index
//	ci                          what the index consists of
//	co number                   item of the index's log
//	ca segment page             page of a segment of the index
//	ch hash cursor              list of places of a heavy hash (6 bytes)
//	cf number                   list of entries that are to be removed from the index
//	ct hash(type) cursor        empty; cursor of a block that holds such a record
//	cp hash(topic) cursor       empty; cursor of a block
//	cm received cursor          empty; cursor of a block
//	cw record org               the withdrawal of record by org
//	cw record org feed seq      another one, by another entry
//	cv feed seq record org      empty; that entry withdraws record
//	cl                          which lengths of CIDR prefixes occur
//	cn                          counters
//	cy type                     how many records of that type there are
//	ce feed seq cursor          empty; cursor of a block with records of that envelope
//	cz time cursor              which records of a block are to be erased then: their places in
//	                            the block, a byte each, rising
//	cd record feed seq          empty; another envelope that holds the record
//	cg cursor                   what became of a record: withdrawn, restored, erased, gone
//	cx record org               when and why org erased the record; org zero: locally
//
// What becomes of a record takes a cursor of the same row as records do, so that who reads on from a
// cursor (Index.Changes) learns of all in one order. Each has a stamp besides, a time in microseconds
// that rises with the cursor: that of a block stands ahead of what is compressed, each of its records
// having the next.
//
// Blocks are wrapped (KV.Wrap), so that what was in them can be destroyed: to erase a record
// its block is written anew without it, under another key. Its tombstone stays, and is looked
// at whenever a record is read or added.
//
// A record that comes in several envelopes, sealed anew or sent by several, is kept as it came
// first; of the others it is noted that they hold it, so that all sealed copies of it can be
// destroyed with it, and so that it is taken from another if the first does not count any more.
//
// Withdrawals are kept whether or not the record is here, so that their order does not
// matter. One counts if it was made by the record's originator, or by the organisation that
// the record came from.
//
// # The index
//
// A key for each record and each thing that it says is what makes a store slow: a random key
// costs Badger about 3 µs, and an indicator took three or four, besides two reads when it was
// added. So there is no such key. The index is a small log-structured tree of hashes inside the
// key space:
//
//   - An entry is 48 bits of a salted SHA-256 of what a record is found by, namely its id, its
//     STIX id, each observable and each host in one, with the record's cursor, its place in the
//     block, and for a STIX id when it was modified. The salt is the store's secret, so who
//     chooses values can neither make them collide nor fill a page with them. 48 bits are enough,
//     because whoever finds an entry looks at the record itself: a collision costs a block read
//     in vain, and is never a wrong answer.
//   - What is added by one Add is one value, an item of the log, and an entry in a table in memory.
//     At 100,000 entries the log becomes a segment.
//   - A segment is sorted by hash, in pages of at most 512 entries on the average (5 KB). Hashes are
//     uniform, so the page of a hash is told by the hash's first bits: no page says where others
//     begin. Small pages make reading, and erasing, cheap; wrapping them costs a hundredth.
//   - Eight segments of about a size are merged into one (Index.Merge), some parts in a
//     transaction, from the lowest hashes on. Each entry stands in exactly one place at any time,
//     and the manifest (ci) says up to which hash a merge has come, so a crash loses nothing and
//     repeats nothing. An entry is written four times in ten million records.
//   - Of each page there is a Bloom filter in memory, 16 bits an entry: 7 MB for a million
//     indicators of one host. They are not stored: a node starts in the same time whatever it holds,
//     there is nothing more to be wiped, and filters and pages cannot disagree. They are made when
//     pages are written, and after opening little by little in the background (Index.Warm), which
//     takes some 50 µs a page; a search of a page that has none yet reads the page.
//   - A hash of more than 256 records, an observable that everybody reports, has its entries in
//     lists beside the segments, and a mark in its page, so that no page outgrows a transaction.
//   - That there is a tombstone of a record, here or still to come, is an entry too. Whoever adds
//     so learns mostly without reading that a record was not erased; where the index says that it
//     may have been, the tombstone (cx) decides.
//
// What is in memory is a copy by random numbers of what the transaction at hand reads, and so needs
// to know neither of commits nor of transactions that were given up: readers of older states, and
// a writer that is in the middle of one, share it.
//
// Pages, items and lists are wrapped. A merge retires what it read (KV.Retire). Erasing, and taking
// out, remove the entries of what goes: the pages with them are written anew and the old ones
// destroyed, at once for some hundred pages, and in later steps of Merge for what is above that, as
// of a whole envelope; until then a list (cf) says what is to be removed, wrapped itself. An entry
// that is still there finds nothing, because its place in the block is empty.
package corpus
