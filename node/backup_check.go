package node

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// What is checked of a backup, structure by structure. Errors spoil the backup; what only does
// not verify with the cards in it is left out, as a node does where it meets it.

func (b *backupReader) takeHeads(v *protocol.BackupHeads) error {
	for _, h := range v.Heads {
		if n := len(b.heads); n > 0 && bytes.Compare(b.heads[n-1].Feed[:], h.Feed[:]) >= 0 {
			return protocol.Errorf(protocol.ErrMalformed, "the feeds of a backup must rise, without duplicates")
		}
		b.heads = append(b.heads, h)
	}
	return nil
}

func (b *backupReader) document(t backupTaker, d *protocol.BackupDocument) error {
	kind := slices.IndexFunc(backupKinds, func(k string) bool { return kindName(k) == d.Kind })
	switch {
	case kind < 0:
		return protocol.Errorf(protocol.ErrMalformed, "backup holds a document of unknown kind %q; read it with the version of the program that made it, or a later one", d.Kind)
	case kind < b.kind || kind == b.kind && b.lastID != nil && bytes.Compare(b.lastID, d.ID) >= 0:
		return protocol.Errorf(protocol.ErrMalformed, "the documents of a backup must rise, without duplicates")
	}
	b.kind, b.lastID = kind, append([]byte{}, d.ID...)
	if err := b.checkDocument(backupKinds[kind], d.ID, d.Value); err != nil {
		return fmt.Errorf("document %s: %w", d.Kind, err)
	}
	return t.document(backupKinds[kind], d.ID, d.Value)
}

// idOf checks the length of a document's id.
func idOf(id []byte, size int) error {
	if len(id) != size {
		return protocol.Errorf(protocol.ErrMalformed, "its id has %d bytes, not %d", len(id), size)
	}
	return nil
}

func (b *backupReader) checkDocument(kind string, id, value []byte) error {
	read := func(size int, v any) error {
		if err := idOf(id, size); size > 0 && err != nil {
			return err
		}
		return protocol.Decode(value, maxDocument, v)
	}
	network := b.manifest.Network
	switch kind {
	case kindCard:
		var signed protocol.SignedCard
		if err := read(32, &signed); err != nil {
			return err
		}
		return b.checkCard(protocol.OrgID(id), &signed)
	case kindRoster:
		var st protocol.RosterStatement
		if err := read(32, &st); err != nil {
			return err
		}
		if h := st.Hash(); !bytes.Equal(h[:], id) {
			return protocol.Errorf(protocol.ErrMalformed, "a roster statement is not the one that it is kept as")
		}
		card := b.cards[st.Signer]
		if card == nil {
			b.leave("roster statement", errors.New("no card of its signer is known"))
		} else if _, err := crypto.VerifyStatement(&st, card); err != nil {
			b.leave("roster statement", err)
		}
		return nil
	case kindSetting:
		if string(id) == settingRelease {
			return read(0, new(releaseSetting))
		}
		var doc networkDoc
		if string(id) != "network" {
			return protocol.Errorf(protocol.ErrMalformed, "there is no setting %q in a backup", id)
		}
		if err := read(0, &doc); err != nil {
			return err
		}
		if doc.Network != network {
			return protocol.Errorf(protocol.ErrWrongContext, "it is of another network than the backup")
		}
		return nil
	case kindAgreement:
		return b.checkAgreement(id, value)
	case kindCosigned:
		return read(48, new(cosignedDoc))
	case kindOtherwise:
		return read(48, new(otherwiseDoc))
	case kindAudit:
		return audit.CheckDumped(id, value)
	case kindAddrs:
		return read(32, new(addrsDoc))
	case kindConflict:
		return read(32, new(conflictDoc))
	case kindErasure:
		var doc erasureDoc
		if err := read(32, &doc); err != nil {
			return err
		}
		if h := sha256.Sum256(doc.Item); !bytes.Equal(h[:], id) {
			return protocol.Errorf(protocol.ErrWrongContext, "an erasure is another one than it is kept as")
		}
		return protocol.Decode(doc.Item, protocol.MaxSiblingItem, new(protocol.SiblingErasure))
	case kindRelease:
		return read(8, new(releaseDoc))
	case kindDenied:
		return read(32, new(deniedDoc))
	case kindForward, kindForwardWait:
		return read(32, new(forwardDoc))
	case kindVolume:
		return read(42, new(volumeDoc))
	case kindHistory:
		return read(64, new(historyDoc))
	case kindExclusion:
		return checkKeptExclusion(id, value)
	case kindExcluded:
		return read(64, new(excludedDoc))
	case kindExcludeDue, kindExcludeWait, kindAckDue:
		return read(32, new(goneDoc))
	case kindExclusionAck:
		var doc ackDoc
		if err := read(96, &doc); err != nil {
			return err
		}
		st, err := doc.statement()
		if err == nil && !bytes.Equal(ackKey(st.Exclusion, st.Org, st.Signing), id) {
			err = protocol.Errorf(protocol.ErrWrongContext, "an acknowledgement is another one than it is kept as")
		}
		return err
	case kindView:
		return checkView(id, value)
	case kindOutput:
		return checkWarninglist(id, value)
	case kindTaxii:
		return checkTaxii(id, value)
	case kindMisp:
		return checkMISP(id, value)
	case kindConsumer:
		return read(32, new(consumerDoc))
	case kindPerson:
		return checkPerson(id, value)
	case kindSecond:
		var doc protocol.SiblingSecond
		if err := protocol.Decode(value, maxDocument, &doc); err != nil {
			return err
		}
		if doc.Act != string(id) {
			return protocol.Errorf(protocol.ErrWrongContext, "what an act needs is of another than it is kept as")
		}
		return nil
	case kindRequest:
		var doc protocol.SiblingRequest
		if err := read(48, &doc); err != nil {
			return err
		}
		r, err := readRequest(&doc)
		if err == nil && !bytes.Equal(requestKey(r.asked.From, r.asked.ID), id) {
			err = protocol.Errorf(protocol.ErrWrongContext, "a request is another one than it is kept as")
		}
		return err
	case kindRefusal:
		return read(104, new(refusalDoc))
	case kindHold:
		var doc protocol.SiblingHold
		if err := read(32, &doc); err != nil {
			return err
		}
		if !bytes.Equal(doc.ID[:], id) {
			return protocol.Errorf(protocol.ErrWrongContext, "a legal hold is another one than it is kept as")
		}
		return nil
	case kindKept:
		return checkKept(id, value)
	case kindErasureAsk:
		return b.checkErasureAsk(id, value)
	case kindSource:
		return checkSource(id, value)
	case kindSourceState:
		return checkSourceState(id, value)
	case kindDeadLetter:
		return checkDead(id, value)
	case kindErasedHere:
		return checkErasedHere(id, value)
	case kindMandate:
		return read(64, new(mandateDoc))
	case kindOrigin:
		return read(32, new(protocol.SiblingOrigin))
	case kindCopies:
		return read(32, new(copiesDoc))
	case kindCopyDue:
		return read(32, new(goneDoc))
	case kindDue:
		return read(72, new(dueDoc))
	case kindGone:
		return read(0, new(goneDoc))
	case kindHandout:
		return read(8, new(handoutDoc))
	case kindLetter:
		return read(8, new(pendingLetter))
	case kindErase:
		return b.checkErase(id, value)
	case kindFork:
		var p protocol.ForkProof
		if err := read(32, &p); err != nil {
			return err
		}
		f, err := crypto.VerifyFork(network, &p)
		if err == nil && !bytes.Equal(f.Feed[:], id) {
			err = protocol.Errorf(protocol.ErrWrongContext, "a fork proof is of another feed than it is kept for")
		}
		return err
	case kindDirect:
		var signed protocol.Signed
		if err := read(32, &signed); err != nil {
			return err
		}
		d, err := crypto.VerifyDirectTopic(network, &signed)
		if err == nil && d.ID() != protocol.TopicID(id) {
			err = protocol.Errorf(protocol.ErrWrongContext, "a direct topic is another one than it is kept as")
		}
		return err
	case kindHead:
		var signed protocol.Signed
		if err := read(32, &signed); err != nil {
			return err
		}
		h, err := crypto.VerifyHead(network, &signed)
		if feed := protocol.FeedID(id); err == nil && h.Origin.FeedID(network) != feed {
			err = protocol.Errorf(protocol.ErrWrongContext, "a head is of another feed than it is kept for")
		}
		return err
	case kindLate:
		if len(value) != 0 {
			return protocol.Errorf(protocol.ErrMalformed, "it holds something")
		}
		return idOf(id, 40)
	case kindAgain:
		if len(value) != 0 {
			return protocol.Errorf(protocol.ErrMalformed, "it holds something")
		}
		return idOf(id, 32)
	case kindPin:
		return read(32, new(pinDoc))
	case kindPublished:
		return read(40, new(publishedDoc))
	case kindQuarantine:
		return read(48, new(quarantineDoc))
	case kindReceipt:
		return b.checkReceipt(id, value)
	case kindRules:
		var doc rulesDoc
		if err := read(len(rulesID), &doc); err != nil {
			return err
		}
		_, err := rules.Parse(doc.source())
		return err
	case kindSecret:
		var doc secretDoc
		if err := read(0, &doc); err != nil {
			return err
		}
		if !bytes.Equal(secretKey(doc.Period, doc.Secret), id) {
			return protocol.Errorf(protocol.ErrMalformed, "a topic secret is not the one that it is kept as")
		}
		return nil
	case kindTopic:
		var doc topicDoc
		return read(0, &doc)
	case kindSink:
		var doc sinkDoc
		if err := read(0, &doc); err != nil {
			return err
		}
		return checkSinkDoc(string(id), &doc)
	}
	return protocol.Errorf(protocol.ErrMalformed, "it is of no known kind")
}

func checkKeptExclusion(id, value []byte) error {
	var d exclusionDoc
	if err := errors.Join(idOf(id, 32), protocol.Decode(value, maxDocument, &d)); err != nil {
		return err
	}
	var x protocol.Exclusion
	if err := protocol.Decode(d.Raw, maxDocument, &x); err != nil {
		return err
	}
	if h := x.Hash(); !bytes.Equal(h[:], id) {
		return protocol.Errorf(protocol.ErrWrongContext, "an exclusion is another one than it is kept as")
	}
	return nil
}

func (b *backupReader) checkCard(org protocol.OrgID, signed *protocol.SignedCard) error {
	c, err := crypto.VerifyCard(signed)
	if err != nil {
		return err
	}
	if c.Org != org {
		return protocol.Errorf(protocol.ErrWrongContext, "a card is of another organisation than it is kept for")
	}
	b.cards[org] = c
	for i := range c.Nodes {
		b.signers[c.Nodes[i].Signing] = org
	}
	for i := range c.Card.Removed {
		b.signers[c.Card.Removed[i].Signing] = org
	}
	if org == b.manifest.Org {
		b.info.Org = OrgRef{ID: org, Name: c.Inception.Name}
	}
	return nil
}

func (b *backupReader) checkAgreement(id, value []byte) error {
	var d agreementDoc
	if err := errors.Join(idOf(id, 32), protocol.Decode(value, maxDocument, &d)); err != nil {
		return err
	}
	var signed protocol.SignedAgreement
	if err := protocol.Decode(d.Signed, maxDocument, &signed); err != nil {
		return err
	}
	if a := signed.ID(); !bytes.Equal(a[:], id) {
		return protocol.Errorf(protocol.ErrWrongContext, "an agreement is another one than it is kept as")
	}
	s := newSnapshot(0)
	s.network, s.cards = b.manifest.Network, b.cards
	if _, err := readAgreement(s, &d); err != nil {
		b.leave("agreement", err)
	}
	return nil
}

func (b *backupReader) checkErase(id, value []byte) error {
	var d eraseDoc
	if err := errors.Join(idOf(id, 32), protocol.Decode(value, maxDocument, &d)); err != nil {
		return err
	}
	if h := d.Signed.Hash(); !bytes.Equal(h[:], id) {
		return protocol.Errorf(protocol.ErrWrongContext, "an erase is another one than it is kept as")
	}
	_, err := crypto.VerifyErase(b.manifest.Network, &d.Signed, func(signing protocol.SigningKey, key protocol.OpKey) bool {
		c := b.cards[b.signers[signing]]
		return c != nil && c.OpKeyValid(key)
	})
	if err != nil {
		// Whoever held it once verified it; it goes on counting where its bodies are gone.
		b.leave("erase", err)
	}
	return nil
}

func (b *backupReader) checkReceipt(id, value []byte) error {
	var d receiptDoc
	if err := errors.Join(idOf(id, 64), protocol.Decode(value, maxDocument, &d)); err != nil {
		return err
	}
	for _, signed := range append([]protocol.Signed{d.Signed}, d.Proofs...) {
		r, err := crypto.VerifyReceipt(b.manifest.Network, &signed)
		if err != nil {
			return err
		}
		if feed := r.Origin.FeedID(b.manifest.Network); !bytes.Equal(feed[:], id[:32]) {
			return protocol.Errorf(protocol.ErrWrongContext, "a receipt is for another feed than it is kept for")
		}
	}
	return nil
}

// complete checks that the feed before was whole.
func (b *backupReader) complete(t backupTaker) error {
	if b.at == nil {
		return nil
	}
	if b.seq != b.at.Head.Seq || b.hash != b.at.Head.Hash {
		return protocol.Errorf(protocol.ErrBrokenChain, "feed %s ends at entry %d, and not at its head, entry %d", b.at.Head.Feed.Short(), b.seq, b.at.Head.Seq)
	}
	b.at = nil
	return t.feedEnd()
}

func (b *backupReader) beginFeed(t backupTaker, f *protocol.BackupFeed) error {
	if err := b.complete(t); err != nil {
		return err
	}
	if err := b.owner(); err != nil {
		return err
	}
	if b.feeds >= len(b.heads) || b.heads[b.feeds] != f.Head {
		return protocol.Errorf(protocol.ErrMalformed, "feed %s is not the one that comes next in the backup", f.Head.Feed.Short())
	}
	if _, ok := b.signers[f.Origin.Signing]; !ok {
		b.leave("feed", errors.New("no card in the backup lists its author"))
	}
	if f.Origin.Signing == b.manifest.Signing && f.Head.Seq > 0 {
		b.own = append(b.own, f.Head)
	}
	b.feeds++
	b.at, b.seq, b.hash, b.epochs, b.numbers = f, 0, protocol.Hash{}, nil, 0
	return t.feed(f)
}

// owner checks that the backup holds the card of the organisation that it is of.
func (b *backupReader) owner() error {
	card := b.cards[b.manifest.Org]
	switch {
	case card == nil:
		return protocol.Errorf(protocol.ErrMalformed, "backup does not hold the card of its own organisation")
	case !card.Lists(b.manifest.Signing):
		return protocol.Errorf(protocol.ErrUnknownAuthor, "backup is of a node that its organisation's card does not list")
	case b.manifest.Key != (b.op != nil):
		return protocol.Errorf(protocol.ErrMalformed, "backup announces an operational key and does not hold it")
	case b.op != nil && b.op.Public() != card.RootEpoch.Op:
		return protocol.Errorf(protocol.ErrBadSignature, "the operational key in the backup is not the one of its organisation's card")
	}
	return nil
}

func (b *backupReader) takeEpochs(t backupTaker, v *protocol.BackupEpochs) error {
	if b.seq > 0 {
		return protocol.Errorf(protocol.ErrMalformed, "keys come after entries of their feed")
	}
	for i := range v.List {
		e := &v.List[i]
		if e.Number <= b.numbers {
			return protocol.Errorf(protocol.ErrMalformed, "the epochs of a feed must rise")
		}
		b.numbers = e.Number
		ep := &store.Epoch{Number: e.Number, Key: e.Key, Audience: e.Audience, Created: e.Created, Used: e.Used, Retired: e.Retired, First: e.First}
		for _, g := range e.Granted {
			ep.Granted = append(ep.Granted, store.Granted{Node: g.Node, Recipient: g.Recipient})
		}
		b.epochs = append(b.epochs, crypto.EpochKeyOf(e.Key))
		if err := t.epoch(ep); err != nil {
			return err
		}
	}
	return nil
}

func (b *backupReader) takeEntry(t backupTaker, e *protocol.BackupEntry) error {
	env, err := crypto.VerifyEntry(b.manifest.Network, e.Raw)
	if err != nil {
		return fmt.Errorf("entry %d of feed %s: %w", b.seq+1, b.at.Head.Feed.Short(), err)
	}
	h := &env.Header
	bad := func(format string, args ...any) error {
		return protocol.Errorf(protocol.ErrMalformed, "entry %d of feed %s %s", b.seq+1, b.at.Head.Feed.Short(), fmt.Sprintf(format, args...))
	}
	switch {
	case h.Feed != b.at.Head.Feed:
		return bad("is of another feed")
	case h.Seq != b.seq+1 || h.Previous != b.hash || h.Seq > b.at.Head.Seq:
		return protocol.Errorf(protocol.ErrBrokenChain, "entry %d of feed %s does not follow the one before it", b.seq+1, h.Feed.Short())
	case env.Skeleton() != (len(e.Tomb) > 0 || e.Absent != 0):
		return bad("has a body that was erased or is missing, or lacks one that is not")
	case e.State > uint8(store.Erased):
		return bad("is in no known state")
	}
	if len(e.Tomb) > 0 {
		b.info.Erased++
	}
	if e.Absent != 0 {
		b.info.Absent++
	}
	b.seq, b.hash = h.Seq, env.Hash
	if err := b.checkRecords(env, e); err != nil {
		return fmt.Errorf("records of entry %d of feed %s: %w", h.Seq, h.Feed.Short(), err)
	}
	return t.entry(env, e)
}

// checkRecords checks that the records shown of an entry are those that stand in it, signed by
// their originator. Of an entry whose body was erased only those are left that its publisher
// sealed anew elsewhere, and what they say cannot be held against it any more.
func (b *backupReader) checkRecords(env *crypto.VerifiedEnvelope, e *protocol.BackupEntry) error {
	if len(e.Blocks) == 0 {
		return nil
	}
	var signed map[protocol.RecordID]*crypto.VerifiedRecord
	if !env.Skeleton() {
		list, err := b.openRecords(env)
		if errors.Is(err, protocol.ErrUnknownAuthor) {
			b.leave("entry", err) // its originator's card is not in the backup
		} else if err != nil {
			return err
		}
		if err == nil {
			signed = make(map[protocol.RecordID]*crypto.VerifiedRecord, len(list))
			for i := range list {
				signed[list[i].ID] = &list[i]
			}
		}
	}
	for _, block := range e.Blocks {
		v, err := corpus.ReadBlock(block.Block)
		if err != nil {
			return err
		}
		author, ok := b.signers[env.Signing]
		if v.Feed != env.Header.Feed || v.Seq != env.Header.Seq || ok && v.Publisher != author {
			return protocol.Errorf(protocol.ErrWrongContext, "they are kept for another entry, or another publisher")
		}
		if block.Cursor == 0 || block.Cursor >= b.manifest.Cursor || uint64(v.Places) > b.manifest.Cursor-block.Cursor {
			return protocol.Errorf(protocol.ErrMalformed, "their place in the order of arrival is not one that was given")
		}
		for i := range v.Records {
			rec := &v.Records[i]
			b.records++
			if signed == nil {
				continue
			}
			s := signed[rec.Record]
			if s == nil || s.Originator != rec.Originator || formOf(s) != rec.Form || !bytes.Equal(s.Object, rec.Object) || !bytes.Equal(s.HandlingBytes, protocol.Encode(&rec.Handling)) {
				return protocol.Errorf(protocol.ErrBadSignature, "record %s is not what its originator signed", rec.Record.Short())
			}
			b.info.Proven++
		}
	}
	return nil
}

func (b *backupReader) openRecords(env *crypto.VerifiedEnvelope) ([]crypto.VerifiedRecord, error) {
	h := &env.Header
	plain, _, err := crypto.OpenBody(h.SealContext(b.manifest.Network), h.Feed, h.Seq, b.epochs, env.Body)
	if err != nil {
		return nil, err
	}
	var body protocol.Body
	if err := protocol.Decode(plain, protocol.MaxPlainSize, &body); err != nil {
		return nil, err
	}
	return crypto.VerifyBody(b.manifest.Network, &body, func(o protocol.OrgID) *crypto.Card { return b.cards[o] })
}

func (b *backupReader) takeMarks(t backupTaker, v *protocol.BackupMarks) error {
	if err := b.complete(t); err != nil {
		return err
	}
	for i := range v.List {
		m := &v.List[i]
		if bytes.Compare(b.lastMark, m.Key) >= 0 {
			return protocol.Errorf(protocol.ErrMalformed, "what a backup notes of records must rise, without duplicates")
		}
		b.lastMark = append([]byte{}, m.Key...)
		if err := corpus.CheckMark(m.Key, m.Value); err != nil {
			return err
		}
		if err := t.mark(m.Key, m.Value); err != nil {
			return err
		}
	}
	return nil
}

func (b *backupReader) end(t backupTaker, v *protocol.BackupTrailer) error {
	if err := errors.Join(b.complete(t), b.owner()); err != nil {
		return err
	}
	if b.records != b.manifest.Records {
		// Records that were erased while the backup was written are fewer, never more.
		if b.records > b.manifest.Records {
			return protocol.Errorf(protocol.ErrMalformed, "backup holds %d records, and says that there are %d", b.records, b.manifest.Records)
		}
		b.info.Records = b.records
	}
	if err := crypto.VerifyBackup(b.manifest.Network, v.Sum, b.manifest.Signing, v.Sig); err != nil {
		return fmt.Errorf("backup is not signed by the node that it says it is of: %w", err)
	}
	// The end of the frames must be the end of the file.
	n, err := io.Copy(io.Discard, io.LimitReader(b.in, 1))
	if err != nil {
		return brokenOff(err)
	}
	if n > 0 {
		return protocol.Errorf(protocol.ErrMalformed, "backup goes on after its end")
	}
	return nil
}
