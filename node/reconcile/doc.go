// Package reconcile is catching up with a peer: whoever compares learns what it lacks, and
// takes it. Both peers compare, each on its own account, so one comparison only pulls.
//
//	digest             equal: done
//	list, fetch        cards and roster statements that are lacking
//	frontier           the heads of the peer's feeds
//	pull, pull, …      entries, by ranges, until all heads are reached or nothing comes
//
// [Machine] is the asking side as a state machine without I/O and without a clock: Step
// takes an event and says what to do next. [Run] drives it over a stream, [Answer] is the
// other side. Everything a peer says is a claim: a head that it names is worth one request,
// and a feed that does not advance is left alone for the rest of the comparison, so no
// liar keeps one busy.
package reconcile
