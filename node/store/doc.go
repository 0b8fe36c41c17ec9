// Package store keeps a node's data: the feeds entry by entry, what became of each entry,
// the epoch keys, and an ordered space of keys for the packages above. It is the only user
// of Badger.
//
// Every Update is one transaction, durable when it returns (synced to disk), and Updates
// run one after another. On disk everything is encrypted with the key of Config; the
// directory is readable by its owner only. Values stay below Badger's value threshold of
// 1 MiB, so its value log holds nothing and needs no collection.
//
// Layout, feed being 32 bytes and numbers 8 bytes big-endian:
//
//	v                     format of the store: one byte, 4; while it is migrated two, from and to
//	vm                    how far a migration has come
//	f feed                Feed
//	e feed seq            length of the skeleton (4 bytes), skeleton, wrapped body if held
//	x feed seq            Tomb of an entry whose body was erased
//	m feed seq            the body is not held and was not erased; empty: lacking; 1: evicted
//	k n                   number of the next block key
//	k d key               empty; a block key that is to be destroyed
//	g feed                what is staged beyond the head of feed
//	t feed seq            state and reason of an entry; none: Pending
//	i feed state seq      empty; for all states but Pending and Applied
//	p feed number         Epoch
//	u key                 the key space of Tx.Get, Set, Delete and Scan
//
// Bodies of entries, and what the packages above wrap, are encrypted once more under random
// keys of their own that stand outside of Badger, in the directory "blockkeys" (see Tx.Wrap):
// erasing destroys the key, because Badger's old tables keep what was deleted for long.
//
// An entry stands at its place before it counts: what lies beyond the head of its feed is
// invisible, to Envelope and Range as to everybody, until CommitStaged moves the head.
// Structures are one byte of version, 1, and the strict encoding of package protocol.
//
// A store of an older format is read, and not written, until Migrate has brought it to Format. The file
// "format" in the directory says from which format on a program may open the store at all.
package store
