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
	// Against is another checkpoint of the same size, which the same key signed: the two together
	// prove that the account was rewritten.
	Against []byte
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
		a.Held, sign, err = n.cosign(tx, remote, c, &q)
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

// cosign judges a checkpoint, and remembers it if it is to be cosigned. It returns the size of the
// one that is held then.
func (n *Node) cosign(tx *store.Tx, remote protocol.NodeID, c *audit.Checkpoint, q *protocol.CosignRequest) (size uint64, sign bool, err error) {
	place := append(bytes.Clone(remote[:]), c.Log[:]...)
	var held cosignedDoc
	known, err := getDoc(tx, kindCosigned, place, &held)
	if err != nil {
		return 0, false, err
	}
	if !known {
		count := 0
		if err := tx.Scan(append([]byte(kindCosigned), remote[:]...), nil, false, func(_, _ []byte) (bool, error) { count++; return true, nil }); err != nil {
			return 0, false, err
		}
		if count >= maxCosignedLogs {
			return 0, false, protocol.Errorf(protocol.ErrOversize, "that node has begun %d audit logs, and no more of one node are cosigned", count)
		}
	}
	before := audit.Head{Log: c.Log, Size: held.Size, Root: held.Root}
	switch {
	case known && c.Size == held.Size && c.Root != held.Root:
		// Both are signed with its key: nobody has to take our word for it.
		n.log.Error("a partner's node signed two accounts of one length", "node", remote, "log", c.Log)
		if len(held.Against) == 0 {
			held.Against = c.Note
			return held.Size, false, putDoc(tx, kindCosigned, place, &held)
		}
		return held.Size, false, nil
	case known && q.Held != held.Size:
		return held.Size, false, nil // it is asked again as of what is held
	}
	if known {
		if err := audit.CheckSince(audit.ProofOf(q.Proof), c.Head, before); err != nil {
			return 0, false, err
		}
		if c.Size == held.Size {
			return c.Size, true, nil
		}
	}
	return c.Size, true, putDoc(tx, kindCosigned, place, &cosignedDoc{Size: c.Size, Root: c.Root, At: uint64(nowMillis()), Note: c.Note, Against: held.Against})
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
		if a.Held > c.Size {
			n.log.Error("a partner cosigned more of this node's audit log than there is: it was shortened", "node", peer, "entries", c.Size, "cosigned", a.Held)
			return 0, protocol.Errorf(protocol.ErrBrokenChain, "it holds a checkpoint of %d entries, and there are %d", a.Held, c.Size)
		}
		held = a.Held
	}
	return 0, protocol.Errorf(protocol.ErrBrokenChain, "it does not cosign what continues the checkpoint of %d entries", held)
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

// rewritten lists the nodes that signed two accounts of one length.
func (n *Node) rewritten() (out []protocol.NodeID) {
	err := n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindCosigned, func(id []byte, d *cosignedDoc) error {
			if len(d.Against) > 0 && len(id) == 48 {
				out = append(out, protocol.NodeID(id[:32]))
			}
			return nil
		})
	})
	if err != nil {
		n.log.Error("reading what was cosigned", "err", err)
	}
	return out
}
