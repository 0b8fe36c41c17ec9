package node

import (
	"errors"
	"slices"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// ErrClock is returned where a node is to publish before times that it stated itself. Partners set aside what
// states a time to come, and a feed's times never fall: nothing is published until a person has said which
// of the two clocks was wrong, the one of then or the one of now.
var ErrClock = errors.New("the clock stands before what this node stated itself: set the clock; if it is right now and was wrong then, run 'entente up --clock-ok'")

// whyAhead is why a feed was closed whose times were ahead of the clock.
const whyAhead = "its times are ahead of the clock, which is said to be right"

// leaveAhead closes the own feeds whose times are ahead of the clock, and begins others. A person has said that
// the clock is right.
func (n *Node) leaveAhead() error {
	now, network := uint64(nowMillis()), n.snap.Load().network
	return n.st.Update(func(tx *store.Tx) error {
		var ahead []protocol.Origin
		err := scanDocs(tx, kindFeedNumber, func(id []byte, inc *incarnationDoc) error {
			origin := n.origin(protocol.TopicID(id), inc.Incarnation)
			f, err := tx.Feed(origin.FeedID(network))
			if err == nil && f != nil && f.SealedAt > now+protocol.MaxClockSkew {
				ahead = append(ahead, origin)
			}
			return err
		})
		for _, o := range ahead {
			if err == nil {
				_, err = n.closeFeed(tx, o.Topic, o.Incarnation, whyAhead)
			}
		}
		return err
	})
}

// leftAhead tells whether an own feed was closed because its times were ahead of the clock.
func (n *Node) leftAhead(tx *store.Tx, o *protocol.Origin) (bool, error) {
	var inc incarnationDoc
	_, err := getDoc(tx, kindFeedNumber, o.Topic[:], &inc)
	return slices.ContainsFunc(inc.Closed, func(c closedFeed) bool { return c.Incarnation == o.Incarnation && c.Why == whyAhead }), err
}
