package node

import (
	"errors"
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// Agreements as files: lawyers exchange documents, and partners that no network connects have to
// begin somewhere. A file is the signed agreement, with the signatures given so far. It holds the
// agreement's secret, and is as confidential as the agreement.

// maxImport bounds the agreements that one import brings, in bytes: a transaction takes little more.
const maxImport = 4 << 20

// SignedAgreement returns an agreement as its parties signed it, for a file that ImportAgreements
// takes. It holds the agreement's secret.
func (n *Node) SignedAgreement(id protocol.AgreementID) (*protocol.SignedAgreement, error) {
	a := n.snap.Load().agreements[id]
	if a == nil {
		return nil, fmt.Errorf("no agreement %s is known here; 'entente agreement list' shows those that are: %w", id.Short(), ErrNotFound)
	}
	signed := a.Signed
	return &signed, nil
}

// ImportedAgreement says what became of an agreement that came as a file.
type ImportedAgreement struct {
	ID    protocol.AgreementID
	State AgreementState // now
	New   bool           // it was not known here before
	Added int            // signatures that were not held before
}

// ImportAgreements takes agreements that came as files, all of them or, with an error, none, in one
// change. They are judged as those that come by letter: each is of this network and with this
// organisation, and every signature verifies. One that lacks this organisation's signature waits
// for its answer like any proposal; one that was ended stays ended.
func (n *Node) ImportAgreements(list []*protocol.SignedAgreement) ([]ImportedAgreement, error) {
	if n.snap.Load().network == protocol.NoNetwork {
		return nil, ErrNoNetwork
	}
	size := 0
	for _, signed := range list {
		size += len(protocol.Encode(signed))
	}
	if size > maxImport {
		return nil, protocol.Errorf(protocol.ErrOversize, "the agreements have %d bytes together, at most %d go in one import; import them in several", size, maxImport)
	}
	var out []ImportedAgreement
	err := n.change(func(tx *store.Tx) (err error) {
		out, err = n.importAll(tx, list)
		return err
	})
	if err != nil {
		return nil, err
	}
	s := n.snap.Load()
	for i := range out {
		if a := s.agreements[out[i].ID]; a != nil {
			out[i].State = n.agreementInfo(s, a).State
		}
		n.log.Info("agreement imported", "agreement", out[i].ID, "state", out[i].State)
	}
	return out, errors.Join(n.gate.reopenMarked(), n.gate.drain())
}

// importAll judges under the state that stands until the transaction is done, and marks the feeds
// of those who are parties of an agreement that became complete.
func (n *Node) importAll(tx *store.Tx, list []*protocol.SignedAgreement) (out []ImportedAgreement, err error) {
	s := n.snap.Load()
	verified, err := n.judgeImport(s, list)
	if err != nil {
		return nil, err
	}
	var complete []protocol.OrgID
	for _, a := range verified {
		held, had := s.agreements[a.ID], 0
		if held != nil {
			had = len(held.Signed.Sigs)
		}
		joined, err := n.storeAgreement(tx, &a.Signed, proposerOf(a, n.org))
		if err != nil {
			return nil, err
		}
		if len(joined.Sigs) == len(a.Parties) && (held == nil || len(held.Missing) > 0) {
			complete = append(complete, a.Parties...)
		}
		out = append(out, ImportedAgreement{ID: a.ID, New: held == nil, Added: len(joined.Sigs) - had})
	}
	if len(complete) > 0 {
		err = n.markParties(tx, complete)
	}
	return out, err
}

// judgeImport verifies the agreements of an import. Those that stand in it twice, each with some
// signatures, are joined.
func (n *Node) judgeImport(s *snapshot, list []*protocol.SignedAgreement) ([]*crypto.Agreement, error) {
	var out []*crypto.Agreement
	at := map[protocol.AgreementID]int{}
	waiting := n.waiting(s)
	for i, signed := range list {
		a, err := n.judgeFile(s, signed)
		if err != nil {
			return nil, fmt.Errorf("agreement %d of %d (%s): nothing was imported: %w", i+1, len(list), signed.ID().Short(), err)
		}
		if k, ok := at[a.ID]; ok {
			out[k].Signed = *joinSignatures(&out[k].Signed, &a.Signed)
			continue
		}
		at[a.ID] = len(out)
		out = append(out, a)
		if s.agreements[a.ID] == nil && slices.Contains(a.Missing, n.org) {
			if waiting++; waiting > maxInbox {
				return nil, protocol.Errorf(protocol.ErrOversize, "the inbox of proposals is full; reject some")
			}
		}
	}
	return out, nil
}

// judgeFile verifies one agreement that came as a file. Of a letter it is known who sent it; a
// file must at least be signed by a party, or it could be anybody's.
func (n *Node) judgeFile(s *snapshot, signed *protocol.SignedAgreement) (*crypto.Agreement, error) {
	a, err := crypto.VerifyAgreement(signed, s.network, s.card)
	switch {
	case errors.Is(err, protocol.ErrUnknownAuthor):
		return nil, fmt.Errorf("%w; run 'entente trust' with its card file first", err)
	case err != nil:
		return nil, err
	case !slices.Contains(a.Parties, n.org):
		return nil, protocol.Errorf(protocol.ErrWrongContext, "this organisation is not a party of it")
	case len(signed.Sigs) == 0:
		return nil, protocol.Errorf(protocol.ErrBadSignature, "no party signed it")
	}
	for _, p := range a.Parties {
		if s.cards[p] == nil {
			return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "no card is known of %s, which is a party of it; run 'entente trust' with its card file first", p.Short())
		}
	}
	return a, nil
}

// proposerOf names who is said to have proposed an agreement that came as a file: the first of the
// other parties that signed.
func proposerOf(a *crypto.Agreement, self protocol.OrgID) protocol.OrgID {
	for _, sig := range a.Signed.Sigs {
		if sig.Org != self {
			return sig.Org
		}
	}
	return self
}
