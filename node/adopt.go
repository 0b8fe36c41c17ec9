package node

import (
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// A node that was restored from a backup goes on where the lost one stopped: it withdraws and
// erases what that one published. What it published after the backup comes back from peers,
// without the account of for whom it was sealed; that is found again here.

// adopt tells for whom an entry of another node of this organisation was sealed, for which this
// node answers now, by the epochs that it has from it; nil if it has none.
func (r *reader) adopt(env *crypto.VerifiedEnvelope, topic string, body *protocol.Body) *publishedDoc {
	var orgs []protocol.OrgID
	for _, ep := range r.epochs {
		if len(ep.Audience) == 0 {
			continue
		}
		if _, _, err := crypto.OpenBody(env.Header.SealContext(r.s.network), r.feed.ID, env.Header.Seq, []crypto.EpochKey{crypto.EpochKeyOf(ep.Key)}, env.Body); err == nil {
			orgs = append(orgs, ep.Audience...)
		}
	}
	if len(orgs) == 0 {
		return nil
	}
	slices.SortFunc(orgs, protocol.OrgID.Compare)
	return &publishedDoc{Orgs: slices.Compact(orgs), Topic: topic, At: body.SealedAt, RetentionDays: body.RetentionDays}
}

// keepAdopted stores what adopt found, unless the account of who published it is here.
func keepAdopted(tx *store.Tx, place []byte, found *publishedDoc) error {
	if found == nil {
		return nil
	}
	if ok, err := getDoc(tx, kindPublished, place, new(publishedDoc)); ok || err != nil {
		return err
	}
	return putPublished(tx, place, found)
}
