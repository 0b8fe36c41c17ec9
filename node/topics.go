package node

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

var topicPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// JoinTopic makes this node store, forward and read what is published in a topic. Any
// member may join any topic; what it can read there is for agreements to say.
func (n *Node) JoinTopic(name string) error {
	s := n.snap.Load()
	if s.network == protocol.NoNetwork {
		return ErrNoNetwork
	}
	if !topicPattern.MatchString(name) {
		return fmt.Errorf("topic %q cannot be used: 1 to 64 of a-z, 0-9, dot, hyphen and underscore", name)
	}
	id := protocol.NewTopicID(s.network, name)
	if _, ok := s.topics[id]; ok && len(s.siblings(n.org, n.ID())) == 0 {
		return nil // with siblings it is said again: one may have left before now, and not told yet
	}
	return n.change(func(tx *store.Tx) error {
		at, err := nowAfter(tx, kindTopic, id[:])
		return errors.Join(err, setTopic(tx, id, name, at, true))
	})
}

// LeaveTopic ends that, at all nodes of this organisation. What is stored stays.
func (n *Node) LeaveTopic(name string) error {
	s := n.snap.Load()
	id := protocol.NewTopicID(s.network, name)
	if _, ok := s.topics[id]; !ok || name == protocol.ControlTopic {
		return fmt.Errorf("this node is not in topic %q", name)
	}
	return n.change(func(tx *store.Tx) error {
		at, err := nowAfter(tx, kindTopic, id[:])
		return errors.Join(err, setTopic(tx, id, name, at, false))
	})
}

// TopicInfo is a topic that this node is in.
type TopicInfo struct {
	Name      string `json:"name"`
	Feeds     int    `json:"feeds"`
	Envelopes uint64 `json:"envelopes"`
	Peers     int    `json:"peers"` // gossiping now
}

// Topics lists the topics that this node is in, the control topic left out.
func (n *Node) Topics() ([]TopicInfo, error) {
	s := n.snap.Load()
	byID := map[protocol.TopicID]*TopicInfo{}
	for id, name := range s.topics {
		if name != protocol.ControlTopic && !id.Direct() {
			byID[id] = &TopicInfo{Name: name}
			if net := n.net.Load(); net != nil {
				byID[id].Peers = net.mesh.TopicPeers(s.wireName(name))
			}
		}
	}
	err := n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			topic := f.Origin.Topic
			if name := s.topics[topic]; topic.Direct() && name != "" {
				topic = protocol.NewTopicID(s.network, name)
			}
			if t := byID[topic]; t != nil && f.Seq > 0 {
				t.Feeds++
				t.Envelopes += f.Seq
			}
			return nil
		})
	})
	list := []TopicInfo{}
	for _, t := range byID {
		list = append(list, *t)
	}
	slices.SortFunc(list, func(a, b TopicInfo) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}

// joined counts the topics that this node is in, the control topic left out.
func (s *snapshot) joined() (count int) {
	for id := range s.topics {
		if !id.Direct() {
			count++
		}
	}
	return count - 1
}
