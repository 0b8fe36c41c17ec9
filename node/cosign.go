package node

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// A node has its checkpoints cosigned by nodes of organisations that it has agreements with, and
// cosigns theirs. A cosigner sees how many entries there are, and nothing of them.

// cosignedDoc is where the audit log of another node stood when it was last cosigned here.
type cosignedDoc struct {
	_    struct{} `cbor:",toarray"`
	Size uint64
	Root protocol.Hash
	At   uint64 // Unix milliseconds
	Note []byte // the checkpoint
	// Against is a checkpoint that does not continue this one, which the same key signed. If it is of
	// the same size, the two together prove that the account was rewritten.
	Against []byte
}

// otherwiseDoc is a checkpoint of an own log that contradicts it, as a cosigner holds it: its key is
// the cosigner's node and the log. It was signed here, before the log was put back to an earlier
// state, or where another copy of this node's data is used.
type otherwiseDoc struct {
	_    struct{} `cbor:",toarray"`
	At   uint64   // Unix milliseconds: when it came
	Note []byte
}

// maxCosignedLogs bounds the logs of one node that are cosigned: it begins another whenever its data
// goes back in time.
const maxCosignedLogs = 64

// cosignEvery is how often one node is asked for cosignatures.
const cosignEvery = time.Hour

// cosignMark is when a peer was asked, and what it holds.
type cosignMark struct {
	at   time.Time
	log  audit.ID
	held uint64
}

const cosignerPrefix = "entente/node/"

func cosignerName(id protocol.NodeID) string { return cosignerPrefix + id.String() }

// serveCosign cosigns a checkpoint of a partner's audit log, if it continues the last one that was
// cosigned.
func (n *Node) serveCosign(remote protocol.NodeID, org protocol.OrgID, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
	if len(m.Envelopes) != 1 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "request for a cosignature holds %d parts, one is allowed", len(m.Envelopes))
	}
	var q protocol.CosignRequest
	if err := protocol.Decode(m.Envelopes[0], protocol.MaxStatementSize, &q); err != nil {
		return nil, err
	}
	s := n.snap.Load()
	card := s.cards[org]
	if org == n.org || !s.agreed(n.org, org) || card == nil || card.Node(remote) == nil {
		return nil, protocol.Errorf(protocol.ErrNoAgreement, "audit logs are cosigned for nodes of partners only")
	}
	id, err := audit.OriginOf(q.Checkpoint)
	if err != nil {
		return nil, err
	}
	verifier, err := crypto.NoteVerifier(id.Origin(), card.Node(remote).Signing)
	if err != nil {
		return nil, err
	}
	c, err := audit.OpenCheckpoint(q.Checkpoint, verifier)
	if err != nil {
		return nil, err
	}
	a := &protocol.CosignAnswer{}
	sign := false
	err = n.st.Update(func(tx *store.Tx) (err error) {
		a.Held, a.Checkpoint, sign, err = n.cosign(tx, remote, c, &q)
		return err
	})
	if err != nil {
		n.log.Warn("not cosigning a checkpoint of an audit log", "org", org, "node", remote, "err", err)
		return nil, err
	}
	if sign {
		if a.Signature, err = c.Cosignature(n.keys.Signing.Cosigner(cosignerName(n.ID()), uint64(nowMillis())/1000)); err != nil {
			return nil, err
		}
	}
	return &protocol.SyncMessage{Version: 1, Kind: protocol.SyncCosign, Envelopes: [][]byte{protocol.Encode(a)}}, nil
}

// cosign judges a checkpoint, and remembers it if it is to be cosigned, or if it contradicts the one
// that is. It returns the size of the one that is held then, and, if it is another one, that.
func (n *Node) cosign(tx *store.Tx, remote protocol.NodeID, c *audit.Checkpoint, q *protocol.CosignRequest) (size uint64, other []byte, sign bool, err error) {
	place := append(bytes.Clone(remote[:]), c.Log[:]...)
	var held cosignedDoc
	known, err := getDoc(tx, kindCosigned, place, &held)
	if err != nil {
		return 0, nil, false, err
	}
	if !known {
		count := 0
		if err := tx.Scan(append([]byte(kindCosigned), remote[:]...), nil, false, func(_, _ []byte) (bool, error) { count++; return true, nil }); err != nil {
			return 0, nil, false, err
		}
		if count >= maxCosignedLogs {
			return 0, nil, false, protocol.Errorf(protocol.ErrOversize, "that node has begun %d audit logs, and no more of one node are cosigned", count)
		}
	}
	before := audit.Head{Log: c.Log, Size: held.Size, Root: held.Root}
	if known && q.Held != held.Size && (c.Size != held.Size || c.Root == held.Root) {
		return held.Size, held.Note, false, nil // it is asked again as of what is held
	}
	if known {
		if err := audit.CheckSince(audit.ProofOf(q.Proof), c.Head, before); err != nil {
			n.log.Error("a partner's node shows an account that does not continue the one cosigned here", "node", remote, "log", c.Log, "err", err)
			return held.Size, held.Note, false, n.putAgainst(tx, place, &held, c)
		}
		if c.Size == held.Size {
			return c.Size, nil, true, nil
		}
	}
	return c.Size, nil, true, putDoc(tx, kindCosigned, place, &cosignedDoc{Size: c.Size, Root: c.Root, At: uint64(nowMillis()), Note: c.Note, Against: held.Against})
}

// putAgainst keeps a checkpoint beside the one that it contradicts. One of the same length stays:
// nobody has to take our word for what the two together show.
func (n *Node) putAgainst(tx *store.Tx, place []byte, held *cosignedDoc, c *audit.Checkpoint) error {
	if len(held.Against) > 0 && (held.proven() || c.Size != held.Size) {
		return nil
	}
	held.Against = c.Note
	return putDoc(tx, kindCosigned, place, held)
}

// proven reports whether what is held proves by itself that the account was rewritten.
func (d *cosignedDoc) proven() bool {
	h, err := audit.HeadOf(d.Against)
	return err == nil && h.Size == d.Size && h.Root != d.Root
}

// askCosign has a partner's node cosign the newest checkpoint, now and then.
func (net *network) askCosign(ctx context.Context, peer protocol.NodeID, org protocol.OrgID) error {
	n := net.n
	if org == n.org || !n.snap.Load().agreed(n.org, org) {
		return nil
	}
	net.mu.Lock()
	mark := net.cosigned[peer]
	due := time.Since(mark.at) >= cosignEvery
	if due {
		mark.at = time.Now()
		net.cosigned[peer] = mark
	}
	net.mu.Unlock()
	if !due {
		return nil
	}
	held, err := n.haveCosigned(ctx, peer, mark, func(ctx context.Context, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
		return net.mesh.Ask(ctx, peer, m)
	})
	if err != nil { // it has no part in whether the two hold the same
		n.log.Debug("having the audit log cosigned failed", "node", peer, "err", err)
		return nil
	}
	net.mu.Lock()
	net.cosigned[peer] = cosignMark{at: mark.at, log: n.account.Log, held: held}
	net.mu.Unlock()
	return nil
}

// haveCosigned asks a node for a cosignature of a checkpoint that is stated now, and keeps it. It
// returns how many entries that node has cosigned.
func (n *Node) haveCosigned(ctx context.Context, peer protocol.NodeID, mark cosignMark, ask func(context.Context, *protocol.SyncMessage) (*protocol.SyncMessage, error)) (uint64, error) {
	card := n.snap.Load().cards[n.snap.Load().nodes[peer]]
	if card == nil || card.Node(peer) == nil {
		return 0, protocol.Errorf(protocol.ErrUnknownAuthor, "no card lists node %s", peer)
	}
	c, err := n.AuditCheckpoint()
	if err != nil {
		return 0, err
	}
	held := uint64(0)
	if mark.log == c.Log {
		held = mark.held
	}
	var broken error
	for range 2 { // the first time it says what it holds
		q := &protocol.CosignRequest{Held: held, Checkpoint: c.Note}
		err := n.st.View(func(tx *store.Tx) error {
			proof, err := n.account.ProveSince(tx, min(held, c.Size), c.Size)
			for _, h := range proof {
				q.Proof = append(q.Proof, protocol.Hash(h))
			}
			return err
		})
		if err != nil {
			return 0, err
		}
		m, err := ask(ctx, &protocol.SyncMessage{Version: 1, Kind: protocol.SyncCosign, Envelopes: [][]byte{protocol.Encode(q)}})
		if err != nil {
			return 0, err
		}
		if m.Kind != protocol.SyncCosign || len(m.Envelopes) != 1 {
			return 0, protocol.Errorf(protocol.ErrMalformed, "peer answered a request for a cosignature with a message of kind %d", m.Kind)
		}
		var a protocol.CosignAnswer
		if err := protocol.Decode(m.Envelopes[0], protocol.MaxStatementSize, &a); err != nil {
			return 0, err
		}
		if len(a.Signature) > 0 {
			return c.Size, n.st.Update(func(tx *store.Tx) error {
				return n.account.AddCosignature(tx, c.Size, a.Signature, crypto.CosignVerifier(cosignerName(peer), card.Node(peer).Signing))
			})
		}
		// It is asked once more all the same, and so finds out itself.
		if broken = n.contradicted(peer, a.Checkpoint); broken != nil && protocol.Class(broken) != "broken-chain" {
			return 0, broken
		}
		held = a.Held
	}
	if broken != nil {
		return 0, broken
	}
	return 0, protocol.Errorf(protocol.ErrBrokenChain, "it does not cosign what continues the checkpoint of %d entries", held)
}

// contradicted looks at the checkpoint that a cosigner holds in place of the one it was asked for. If
// this node's own log is not what it signed there, that is kept, and an error.
func (n *Node) contradicted(peer protocol.NodeID, signed []byte) error {
	if len(signed) == 0 {
		return nil
	}
	verifier, _, err := verifierOf(n.account)
	if err != nil {
		return err
	}
	c, err := audit.OpenCheckpoint(signed, verifier)
	if err != nil {
		return err
	}
	place := append(bytes.Clone(peer[:]), c.Log[:]...)
	var found error
	err = n.st.Update(func(tx *store.Tx) error {
		h, err := n.account.Head(tx)
		if err != nil {
			return err
		}
		if found = nil; c.Size <= h.Size {
			root, err := n.account.Root(tx, c.Size)
			if err != nil || root == c.Root {
				return err
			}
		}
		found = protocol.Errorf(protocol.ErrBrokenChain, "it cosigned %d entries of this node's audit log, signed here, and the log is another one", c.Size)
		return putDoc(tx, kindOtherwise, place, &otherwiseDoc{At: uint64(nowMillis()), Note: c.Note})
	})
	if err == nil && found != nil {
		n.log.Error("a partner cosigned another account of this node than there is: it was put back to an earlier state, or is used twice", "node", peer, "entries", c.Size)
		err = found
	}
	return err
}

// otherwise lists the checkpoints that cosigners hold against a log, for its verification.
func (n *Node) otherwise(tx *store.Tx, log audit.ID) (out []audit.Since, err error) {
	s := n.snap.Load()
	err = scanDocs(tx, kindOtherwise, func(id []byte, d *otherwiseDoc) error {
		if len(id) == 48 && audit.ID(id[32:]) == log {
			by := protocol.NodeID(id[:32])
			out = append(out, audit.Since{What: fmt.Sprintf("the checkpoint that node %s of %s cosigned", by, s.name(s.nodeOrg(by))), Signed: d.Note})
		}
		return nil
	})
	return out, err
}

// AuditCosigner is how far a node of another organisation has cosigned a log.
type AuditCosigner struct {
	Org     OrgRef          `json:"organisation"`
	Node    protocol.NodeID `json:"node"`
	Entries uint64          `json:"entries"`
	At      time.Time       `json:"at"` // by the clock of that node
}

// cosignerKeys finds the keys of cosigners in the cards that are held.
type cosignerKeys struct{ s *snapshot }

// Verifier implements note.Verifiers.
func (k cosignerKeys) Verifier(name string, hash uint32) (note.Verifier, error) {
	text, ok := strings.CutPrefix(name, cosignerPrefix)
	if id, err := protocol.ParseNodeID(text); ok && err == nil {
		for key, sg := range k.s.signers {
			if v := crypto.CosignVerifier(name, key); sg.node == id && v.KeyHash() == hash {
				return v, nil
			}
		}
	}
	return nil, &note.UnknownVerifierError{Name: name, KeyHash: hash}
}

// cosigners lists who cosigned a log, each with the newest checkpoint, and what does not verify.
func (n *Node) cosigners(tx *store.Tx, l *audit.Log, v note.Verifier) (out []AuditCosigner, problems []string, err error) {
	s := n.snap.Load()
	at := map[string]int{}
	err = l.EachCheckpoint(tx, func(size uint64, signed []byte) error {
		c, err := audit.OpenCheckpoint(signed, v)
		if err != nil {
			return nil // the verification of the log says so
		}
		list, err := c.Cosignatures(cosignerKeys{s})
		if err != nil {
			problems = append(problems, fmt.Sprintf("the checkpoint of %d entries that is kept: %v", size, err))
		}
		for _, x := range list {
			id, err := protocol.ParseNodeID(strings.TrimPrefix(x.Name, cosignerPrefix))
			if err != nil {
				return err
			}
			i, ok := at[x.Name]
			if !ok {
				i = len(out)
				at[x.Name] = i
				out = append(out, AuditCosigner{Node: id, Org: s.ref(s.nodeOrg(id))})
			}
			out[i].Entries, out[i].At = size, time.Unix(int64(x.At), 0).UTC()
		}
		return nil
	})
	return out, problems, err
}

// nodeOrg returns whose node it is or was.
func (s *snapshot) nodeOrg(id protocol.NodeID) protocol.OrgID {
	for _, sg := range s.signers {
		if sg.node == id {
			return sg.org
		}
	}
	return protocol.OrgID{}
}

// CosignedLog is the audit log of another node as it was last cosigned here.
type CosignedLog struct {
	Org        OrgRef          `json:"organisation"`
	Node       protocol.NodeID `json:"node"`
	Log        audit.ID        `json:"log"`
	Entries    uint64          `json:"entries"`
	At         time.Time       `json:"at"`
	Checkpoint string          `json:"checkpoint"`
	// Against is a checkpoint of that node that does not continue the other; "": there is none.
	Against string `json:"against,omitempty"`
	// Forked says that the two prove by themselves that there are two accounts.
	Forked bool `json:"forked"`
}

// Cosigned lists the logs of other nodes that were cosigned here.
func (n *Node) Cosigned() (out []CosignedLog, err error) {
	s := n.snap.Load()
	out = []CosignedLog{}
	err = n.st.View(func(tx *store.Tx) error {
		out = out[:0]
		return scanDocs(tx, kindCosigned, func(id []byte, d *cosignedDoc) error {
			if len(id) != 48 {
				return nil
			}
			by := protocol.NodeID(id[:32])
			out = append(out, CosignedLog{Org: s.ref(s.nodeOrg(by)), Node: by, Log: audit.ID(id[32:]), Entries: d.Size, At: millis(d.At),
				Checkpoint: string(d.Note), Against: string(d.Against), Forked: d.proven()})
			return nil
		})
	})
	return out, err
}

// CompareCosigned holds a checkpoint that another cosigner has of a node's log against the one that
// was cosigned here. If both are of one length and differ, the node showed two accounts: the other
// is kept as the proof. forked says so; told says that the two can be compared at all, because they
// are of one length.
func (n *Node) CompareCosigned(signed []byte) (log *CosignedLog, told, forked bool, err error) {
	id, err := audit.OriginOf(signed)
	if err != nil {
		return nil, false, false, err
	}
	list, err := n.Cosigned()
	if err != nil {
		return nil, false, false, err
	}
	for i := range list {
		if list[i].Log == id {
			log = &list[i]
		}
	}
	if log == nil {
		return nil, false, false, fmt.Errorf("no checkpoint of log %s was cosigned here; 'entente audit cosigned' lists those that were: %w", id, ErrNotFound)
	}
	var c *audit.Checkpoint
	err = protocol.Errorf(protocol.ErrUnknownAuthor, "no card lists node %s", log.Node)
	for key, sg := range n.snap.Load().signers {
		if sg.node != log.Node || c != nil {
			continue
		}
		var v note.Verifier
		if v, err = crypto.NoteVerifier(id.Origin(), key); err == nil {
			c, err = audit.OpenCheckpoint(signed, v)
		}
	}
	if err != nil {
		return nil, false, false, err
	}
	if c.Size != log.Entries {
		return log, false, false, nil
	}
	place := append(bytes.Clone(log.Node[:]), id[:]...)
	err = n.st.Update(func(tx *store.Tx) error {
		var held cosignedDoc
		if _, err := getDoc(tx, kindCosigned, place, &held); err != nil {
			return err
		}
		if told = c.Size == held.Size; !told || c.Root == held.Root {
			return nil
		}
		forked = true
		return n.putAgainst(tx, place, &held, c)
	})
	return log, told, forked, err
}

// contradictions lists what cosigning found out: of other nodes, and of this one.
func (n *Node) contradictions() (others []CosignedLog, own []protocol.NodeID) {
	list, err := n.Cosigned()
	for i := range list {
		if list[i].Against != "" {
			others = append(others, list[i])
		}
	}
	if err == nil {
		err = n.st.View(func(tx *store.Tx) error {
			own = nil
			return scanDocs(tx, kindOtherwise, func(id []byte, _ *otherwiseDoc) error {
				if len(id) == 48 && audit.ID(id[32:]) == n.account.Log {
					own = append(own, protocol.NodeID(id[:32]))
				}
				return nil
			})
		})
	}
	if err != nil {
		n.log.Error("reading what was cosigned", "err", err)
	}
	return others, own
}
