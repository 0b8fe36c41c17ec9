// Package source fetches what a node publishes: it watches folders, polls URLs, TAXII servers and MISP feeds,
// and puts what is new through the one gate out, as whoever the source is to publish.
//
//	pull       the next document; where the source stands is a cursor that the puller gives
//	sift       what of it is known costs a hash; the rest is read as a published file is
//	submit     what is new, in parts; nothing else publishes
//	commit     what was given, what was set aside, and at last the cursor
//	compare    of whole lists: what is not there any more, and its withdrawal
//
// [Machine] is one run as a state machine without I/O and without a clock, and [Runner] what drives it. A
// cursor commits after everything before it was submitted and is durable. Whatever ends the process between
// two effects, the next run does again what was not committed, and finds that it stands: nothing is lost, and
// nothing stands twice.
package source
