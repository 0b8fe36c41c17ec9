package node

import (
	"runtime"
	"sync"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// What an entry costs most can be done without regard to the others: it is verified, decrypted and
// parsed, and its block is packed, several at once. What depends on the order is between.

// maxAhead bounds how many entries are worked on at once: a transaction takes all that were
// begun, with whatever they hold.
const maxAhead = 3

func aheadWidth() int { return min(runtime.GOMAXPROCS(0), maxAhead) }

// each calls fn with 0 up to count, at once, and returns when all have returned.
func each(count int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := 1; i < count; i++ {
		wg.Go(func() { fn(i) })
	}
	if count > 0 {
		fn(0)
	}
	wg.Wait()
}

// readEntry is an entry as far as it can be read by itself.
type readEntry struct {
	env  *crypto.VerifiedEnvelope
	body *openedBody // of records; nil if it did not open, or not all of it is as it should be
	err  error       // the entry is not one
}

// ahead reads some entries. Nothing that they hold is judged by it: what does not open with the
// keys at hand, or does not verify, is opened again in its turn, and found out there.
func (r *reader) ahead(raws [][]byte) []readEntry {
	out := make([]readEntry, len(raws))
	each(len(raws), func(i int) {
		e := &out[i]
		if e.env, e.err = crypto.VerifyEntry(r.s.network, raws[i]); e.err != nil || e.env.Header.Kind != protocol.EntryRecords || e.env.Skeleton() {
			return
		}
		if b, err := r.openBody(e.env); err == nil && r.verifyBody(b) == nil {
			b.parse()
			e.body = b
		}
	})
	return out
}

// verifyBody verifies the records of a body, unless that was done.
func (r *reader) verifyBody(b *openedBody) (err error) {
	if b.records == nil {
		b.records, err = crypto.VerifyBody(r.s.network, b.sealed, r.s.card)
	}
	return err
}

// parse parses the records of a verified body; where that fails the object stays nil.
func (b *openedBody) parse() {
	if b.objects != nil {
		return
	}
	b.objects = make([]*stix.Object, len(b.records))
	for i := range b.records {
		b.objects[i], _ = stix.Parse(b.records[i].Object) // who judges it looks for the error
	}
}

// prepare packs the blocks of the entries from one on.
func (r *reader) prepare(from int) {
	list := r.out[from:]
	errs := make([]error, len(list))
	each(len(list), func(i int) {
		if o := &list[i]; o.records > 0 {
			o.packed, errs[i] = r.n.index.Prepare(o.block)
		}
	})
	for i := range list {
		o := &list[i]
		if errs[i] != nil {
			o.records = 0
			r.refuse(o, protocol.EntryRecords, errs[i])
		}
		if o.records > 0 {
			r.records += o.records
			r.bytes += o.packed.Size()
		}
		o.block = corpus.Block{}
	}
}
