package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

// keysOnly is an organisation that has keys and runs no node here: a member of the network to
// which things are sealed, and with whose keys can be looked at what was.
type keysOnly struct {
	name string
	keys *node.Keys
	card protocol.SignedCard
}

func newKeysOnly(name string) (*keysOnly, error) {
	ident, err := node.NewIdentity(node.InitRequest{Name: name, Kind: protocol.KindCERT})
	if err != nil {
		return nil, err
	}
	return &keysOnly{name: name, keys: ident.Keys, card: ident.Card}, nil
}

// hub is how many newcomers one of them gathers before it tells the sponsor. A node looks at all
// members anew whenever one is added, so that a thousand, one by one, would cost a million looks.
const hub = 32

// enlist makes organisations that run no node members of x's network. Each joins as any other
// does, with a node in memory that says so in a carried file, and is closed. The first of them
// gathers the files of the others.
func (x *org) enlist(ctx context.Context, list []*keysOnly) error {
	if len(list) == 0 {
		return nil
	}
	inv, err := x.node.Invite(&list[0].card, time.Hour)
	if err == nil {
		err = list[0].join(ctx, inv, x.node, nil)
	}
	if err != nil {
		return err
	}
	// An invitation holds the cards of all who are members when it is made. Made before these
	// join, a thousand of them do not hold a thousand cards each.
	invitations := map[*keysOnly]*protocol.Invite{}
	for _, k := range list[1:] {
		if invitations[k], err = x.node.Invite(&k.card, time.Hour); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(list[1:], hub) {
		if err := list[0].join(ctx, inv, x.node, func(gathering *node.Node) error {
			for _, k := range some {
				if err := k.join(ctx, invitations[k], gathering, nil); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// join opens a node in memory, joins with it, and has to apply what it packs then. meanwhile may be
// nil.
func (k *keysOnly) join(ctx context.Context, inv *protocol.Invite, to *node.Node, meanwhile func(*node.Node) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s joining: %w", k.name, err)
		}
	}()
	n, err := node.Open(node.Config{Keys: k.keys, Card: &k.card})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if _, err := n.Join(inv); err != nil {
		return err
	}
	if meanwhile != nil {
		if err := meanwhile(n); err != nil {
			return err
		}
	}
	return carry(ctx, n, to)
}

// carry has one node apply what another packs for it.
func carry(ctx context.Context, from, to *node.Node) error {
	var file bytes.Buffer
	if _, err := from.Pack(ctx, &file, node.PackRequest{To: to.Org()}); err != nil {
		return err
	}
	got, err := to.Apply(ctx, &file)
	if err == nil && len(got.Refused) > 0 {
		err = fmt.Errorf("a carried file was not taken whole: %v", got.Refused)
	}
	return err
}

// sign signs an agreement with the operational keys of all its parties.
func sign(network protocol.NetworkID, doc protocol.Agreement, parties ...*node.Keys) (*protocol.SignedAgreement, error) {
	doc.Version, doc.Network, doc.Secret = 1, network, newSecret()
	if err := doc.Validate(); err != nil {
		return nil, err
	}
	out := &protocol.SignedAgreement{Statement: protocol.Encode(&doc)}
	for _, k := range parties {
		sig, err := crypto.SignAgreement(out.Statement, network, k.Org, k.Op)
		if err != nil {
			return nil, err
		}
		out.Sigs = append(out.Sigs, sig)
	}
	slices.SortFunc(out.Sigs, func(a, b protocol.PartySignature) int { return a.Org.Compare(b.Org) })
	return out, nil
}

// take imports agreements, all of which must be in force with it.
func (x *org) take(list []*protocol.SignedAgreement) error {
	done, err := x.node.ImportAgreements(list)
	if err != nil {
		return fmt.Errorf("%s importing agreements: %w", x.name, err)
	}
	for _, d := range done {
		if d.State != node.AgreementInForce {
			return fmt.Errorf("an agreement that %s imported is %s", x.name, d.State)
		}
	}
	return nil
}

// pack has x's node pack what it holds for an organisation.
func (x *org) pack(ctx context.Context, to *keysOnly, w io.Writer) error {
	_, err := x.node.Pack(ctx, w, node.PackRequest{To: to.keys.Org, Topics: []string{topic}})
	return err
}

// readPack reads a carried file with k's keys, by no code of a node, and gives every entry in it,
// verified, to fn.
func (k *keysOnly) readPack(r io.Reader, network protocol.NetworkID, fn func(*crypto.VerifiedEnvelope) error) error {
	plain, err := crypto.OpenFile(r, k.keys.Identities)
	if err != nil {
		return err
	}
	in := bufio.NewReader(plain)
	var dec protocol.CarryDecoder
	for first := true; ; first = false {
		var head [protocol.CarryFrameHead]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return err
		}
		t, size, err := protocol.ParseCarryHead(head)
		if err != nil {
			return err
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(in, b); err != nil {
			return err
		}
		if first {
			if _, _, err := dec.Header(t, b); err != nil {
				return err
			}
			continue
		}
		m, err := dec.Next(t, b)
		if err != nil || m == nil {
			return err // nil after the trailer
		}
		for _, raw := range m.Envelopes {
			env, err := crypto.VerifyEntry(network, raw)
			if err == nil {
				err = fn(env)
			}
			if err != nil {
				return err
			}
		}
	}
}

// epochKeys tries every grant of an entry, whatever its hint says, with k's keys, and returns the
// epoch keys that they open.
func (k *keysOnly) epochKeys(env *crypto.VerifiedEnvelope) (keys []crypto.EpochKey, err error) {
	var body protocol.GrantBody
	if err := protocol.Decode(env.Body, protocol.MaxBodySize, &body); err != nil {
		return nil, err
	}
	for _, slot := range body.Slots {
		for _, id := range k.keys.Identities {
			plain, err := id.OpenSealed(slot.Sealed)
			if errors.Is(err, protocol.ErrNotInAudience) {
				continue
			}
			if err != nil {
				return nil, err
			}
			var g protocol.GrantPlain
			if err := protocol.Decode(plain, protocol.MaxGrantSize, &g); err != nil {
				return nil, err
			}
			keys = append(keys, crypto.EpochKeyOf(g.Key))
		}
	}
	return keys, nil
}

// reader opens a feed's entries, in order, with nothing but an organisation's keys.
type reader struct {
	*keysOnly
	epochs []crypto.EpochKey
}

// entry opens one entry: it takes the epoch keys of a grant, and returns the objects of records that
// a key taken before opens, verified with the cards of who made them and who passed them on.
func (r *reader) entry(network protocol.NetworkID, env *crypto.VerifiedEnvelope, cards ...*crypto.Card) ([][]byte, error) {
	switch env.Header.Kind {
	case protocol.EntryGrant:
		keys, err := r.epochKeys(env)
		r.epochs = append(r.epochs, keys...)
		return nil, err
	case protocol.EntryRecords:
	default:
		return nil, nil
	}
	if len(r.epochs) == 0 {
		return nil, nil
	}
	plain, _, err := crypto.OpenBody(env.Header.SealContext(network), env.Header.Feed, env.Header.Seq, r.epochs, env.Body)
	if errors.Is(err, protocol.ErrNotInAudience) {
		return nil, nil
	}
	var body protocol.Body
	if err == nil {
		err = protocol.Decode(plain, protocol.MaxPlainSize, &body)
	}
	if err != nil {
		return nil, err
	}
	records, err := crypto.VerifyBody(network, &body, func(org protocol.OrgID) *crypto.Card {
		for _, c := range cards {
			if c.Org == org {
				return c
			}
		}
		return nil
	})
	objects := make([][]byte, len(records))
	for i := range records {
		objects[i] = records[i].Object
	}
	return objects, err
}

// network is that which x is in.
func (x *org) network() (protocol.NetworkID, error) {
	st, err := x.node.Status()
	if err != nil {
		return protocol.NoNetwork, err
	}
	return st.Network, nil
}
