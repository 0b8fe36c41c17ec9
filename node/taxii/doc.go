// Package taxii speaks TAXII 2.1 (OASIS Standard, 10 June 2021), both sides of it.
//
// The server gives a collection for each topic that the node is in and for each view, on the
// listener of package serve: [Mount]. What a consumer may not read is not in any collection,
// manifest, count, header or error. A page is read from a list of cursors that is kept for each
// collection, and from the blocks that hold its records; see [list].
//
// The client reads collections of other servers, and goes on where it was: [Client].
//
// SPEC.md, section 30, says what is served and why; docs/taxii-conformance.md names a test for each
// requirement of the standard.
package taxii
