// Package corpus is what an organisation can read: the records that were opened and may be
// used, found by their id, by what they say, and in the order in which they came.
//
// It keeps its data in an ordered key space, [KV], inside the transactions of its caller.
// A record stands once, in a compressed block; indexes hold cursors. Layout, cursors and
// times being 8 bytes big-endian, hash(x) the first 16 bytes of SHA-256(x):
//
//	cb cursor                   block; cursor is that of its first record
//	cr record                   cursor, index in its block
//	cs hash(STIX id) cursor     modified, index in its block
//	co hash(observable) cursor  index in its block
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
//	cz time record              empty; the record is to be erased then
//	cd record feed seq          empty; another envelope that holds the record
//	cx record org               when and why org erased the record; org zero: locally
//
// Blocks are wrapped (KV.Wrap), so that what was in them can be destroyed: to erase a record
// its block is written anew without it, under another key. Its tombstone stays, and is looked
// at whenever a record is read or added.
//
// A record that comes in several envelopes, sealed anew or sent by several, is kept as it came
// first; of the others it is noted that they hold it, so that all sealed copies of it can be
// destroyed with it, and so that it is taken from another if the first does not count any more.
//
// An indicator of one observable so takes three keys, and one of a URL, which is found by
// its host too, takes four.
//
// Withdrawals are kept whether or not the record is here, so that their order does not
// matter. One counts if it was made by the record's originator, or by the organisation that
// the record came from.
package corpus
