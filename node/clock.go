package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node/audit"
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
	now, network := n.nowMillis(), n.snap.Load().network
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

// ErrClockDoubted is returned where a node is to sign or publish something while it does not believe its clock.
var ErrClockDoubted = errors.New("nothing is signed or published: set the clock; if it is right, run 'entente up --clock-ok'")

const (
	// clockAlone is how far the clock may stand after what this node stated last while nobody confirms it. A card
	// is fresh for 30 days: partners grant nothing any more to who was away for as long as this, and a person has to
	// look at the node anyway.
	clockAlone = 60 * 24 * time.Hour
	// clockHeard is for how long what a peer said of the time counts: twice the time after which it is asked again.
	clockHeard = 2 * time.Hour
	clockEvery = time.Hour
	// clockTries and clockRetry: a peer that was let in just now may not have let this node in yet.
	clockTries = 3
	clockRetry = 5 * time.Second
	// clockVoices is how many other organisations have to say that this clock is wrong, at least.
	clockVoices = 2
)

// clockWatch is what a node knows of whether its clock is right.
type clockWatch struct {
	mu     sync.Mutex
	said   map[protocol.OrgID]clockSaid // what other organisations said last; members only, so it is bounded by the roster
	newest uint64                       // the latest time that this node stated, or at which its clock was believed; 0: none
	noted  moment                       // when that was found out here
	slept  func() time.Duration         // tests; nil: slept
}

// last is until when the clock may have run on since: what passes by the monotonic clock, passes. mu must be held.
func (c *clockWatch) last() uint64 {
	if c.newest == 0 {
		return 0
	}
	return c.newest + uint64(c.now().since(c.noted).Milliseconds())
}

// moment is a reading of the monotonic clock, which nobody sets, and which stands while the machine sleeps: so it goes
// with how long the machine had slept.
type moment struct {
	at    time.Time
	slept time.Duration
}

func (c *clockWatch) now() moment { return moment{time.Now(), c.sleep()} }

// since is how much time passed since an earlier moment, with what the machine slept.
func (m moment) since(earlier moment) time.Duration {
	return m.at.Sub(earlier.at) + m.slept - earlier.slept
}

func (c *clockWatch) sleep() time.Duration {
	if c.slept != nil {
		return c.slept()
	}
	return slept()
}

// clockSaid is what time it was somewhere, and when that was heard.
type clockSaid struct {
	theirs uint64 // ms
	within time.Duration
	at     moment
}

// clockDoc is when the clock was believed last: the node ran then.
type clockDoc struct {
	_  struct{} `cbor:",toarray"`
	At uint64
}

// settingClock is where that is kept. It is in no backup: a restored node goes by its feeds.
const settingClock = "clock"

// clockDoubt says why a clock is not believed.
type clockDoubt struct {
	peers bool   // other organisations say so; else nobody confirmed it
	text  string // for people
}

// doubtClock judges the clock; nil: it is believed.
func (n *Node) doubtClock() *clockDoubt {
	d, _ := n.judgeClock()
	return d
}

// judgeClock judges the clock; nil: it is believed, and confirmed says that another organisation agrees. Other organisations
// decide first. This node has one voice, and each of them that clockVoice does not join: only where more than half of all say
// that it is wrong, on one side, it is not believed, so that no minority stops a node. Where nobody agrees with it, it is held
// against what this node stated last. A clock is never moved by what others say.
func (n *Node) judgeClock() (d *clockDoubt, confirmed bool) {
	if n.cfg.ClockOK {
		return nil, true
	}
	now := n.nowMillis()
	n.clock.mu.Lock()
	defer n.clock.mu.Unlock()
	s, here := n.snap.Load(), n.clock.now()   // a system call or two, whatever number there are
	off := map[protocol.OrgID]time.Duration{} // by voice: how far this clock is behind theirs; 0: it agrees
	for org, said := range n.clock.said {
		passed := here.since(said.at)
		if passed > clockHeard {
			delete(n.clock.said, org)
			continue
		}
		o := time.Duration(int64(said.theirs)+passed.Milliseconds()-int64(now)) * time.Millisecond
		if o.Abs() <= protocol.MaxClockSkew*time.Millisecond+said.within {
			o = 0
		}
		voice := s.clockVoice(org)
		if was, has := off[voice]; !has || o.Abs() < was.Abs() {
			off[voice] = o
		}
	}
	var before, after []time.Duration // by how much this clock is behind theirs, and ahead of them
	for _, o := range off {
		switch {
		case o > 0:
			before = append(before, o)
		case o < 0:
			after = append(after, -o)
		}
	}
	agree := len(off) - len(before) - len(after)
	for _, side := range []struct {
		off []time.Duration
		how string
	}{{before, "behind"}, {after, "ahead of"}} {
		if k := len(side.off); k >= clockVoices && 2*k > len(off)+1 {
			slices.Sort(side.off)
			return &clockDoubt{peers: true, text: fmt.Sprintf("the clock stands %s %s those of %d of the %d organisations that said their time", spanOf(side.off[k/2]), side.how, k, len(off))}, false
		}
	}
	if last := n.clock.last(); agree == 0 && last != 0 && now > last+uint64(clockAlone.Milliseconds()) {
		return &clockDoubt{text: fmt.Sprintf("the clock stands %s after what this node stated last, on %s, and no partner's clock confirmed it", spanOf(time.Duration(min(now-last, 1<<43))*time.Millisecond), millis(last).Format(time.DateOnly))}, false
	}
	return nil, agree > 0
}

// clockVoice returns whose voice that of an organisation is. One that this organisation pinned, or that a steward brought in, has its own. Any
// member can bring in any number of others: they have one voice together with it, so that it does not outvote who stands for themselves.
func (s *snapshot) clockVoice(org protocol.OrgID) protocol.OrgID {
	for range len(s.sponsors) {
		by, sponsored := s.sponsors[org]
		if _, pinned := s.pins[org]; pinned || !sponsored || s.genesis != nil && slices.Contains(s.genesis.Stewards, by) {
			break
		}
		org = by
	}
	return org
}

// passedClock returns the time up to which what is to end may end: now, and while the clock is not believed, the time at which it was
// believed last and what passed since.
func (n *Node) passedClock() uint64 {
	now := n.nowMillis()
	if n.doubtClock() == nil {
		return now
	}
	n.clock.mu.Lock()
	defer n.clock.mu.Unlock()
	return min(now, n.clock.last())
}

func spanOf(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
}

// believeClock returns an error of class ErrClockDoubted while the clock is not believed.
func (n *Node) believeClock() error {
	if d := n.doubtClock(); d != nil {
		return fmt.Errorf("%s; %w", d.text, ErrClockDoubted)
	}
	return nil
}

// openClock finds out what this node stated last, before it states anything. A person who said that the clock is right
// is noted, and the time counts as stated.
func (n *Node) openClock() error {
	var d clockDoc
	var newest uint64
	err := n.st.View(func(tx *store.Tx) error {
		if _, err := getDoc(tx, kindSetting, []byte(settingClock), &d); err != nil {
			return err
		}
		return tx.Feeds(func(f *store.Feed) error {
			if f.Origin.Signing != n.keys.Signing.Public() {
				return nil
			}
			left, err := n.leftAhead(tx, &f.Origin)
			if !left {
				newest = max(newest, f.SealedAt)
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	if newest = max(newest, d.At); n.OwnCard() != nil {
		newest = max(newest, n.OwnCard().Issued) // who only reads states nothing else, and its first peers may be too old to be asked
	}
	n.clock.said, n.clock.newest, n.clock.noted = map[protocol.OrgID]clockSaid{}, newest, n.clock.now()
	if n.cfg.ClockOK {
		e := n.details("the clock is right", n.startedBy(n.cfg.ClockBy))
		e.Text = "said on " + millis(n.nowMillis()).Format(time.RFC3339)
		if newest > 0 {
			e.Text += ", after times up to " + millis(newest).Format(time.RFC3339)
		}
		if err := n.auditNow(audit.Clock, e); err != nil {
			return err
		}
	}
	return n.keepClockTime()
}

// startedBy names who started this process as the account names people: by the operating system's account.
func (n *Node) startedBy(c Caller) Caller {
	if !n.HasAccounts() {
		return c
	}
	who := n.AccountOf(c.User)
	c.Person = who.ID
	if len(who.Roles) == 0 {
		c.Person = "account " + c.User // of nobody here
	}
	return c
}

// keepClockTime notes the time, if it is believed and an hour passed since it was. An earlier one than before is noted only where
// somebody confirms it: a machine that starts without a clock, and gets the time later, did not go back.
func (n *Node) keepClockTime() error {
	doubt, confirmed := n.judgeClock()
	if doubt != nil {
		return nil
	}
	now := n.nowMillis()
	n.clock.mu.Lock()
	last := n.clock.newest
	n.clock.mu.Unlock()
	if now < last && !confirmed || now >= last && now-last < uint64(clockEvery.Milliseconds()) {
		return nil
	}
	if err := n.st.Update(func(tx *store.Tx) error { return putDoc(tx, kindSetting, []byte(settingClock), &clockDoc{At: now}) }); err != nil {
		return err
	}
	n.clock.mu.Lock()
	n.clock.newest, n.clock.noted = now, n.clock.now()
	n.clock.mu.Unlock()
	return nil
}

// hearClock takes what a peer says of the time.
func (n *Node) hearClock(org protocol.OrgID, offset, within time.Duration) {
	now := int64(n.nowMillis())
	n.clock.mu.Lock()
	n.clock.said[org] = clockSaid{theirs: uint64(max(now+offset.Milliseconds(), 0)), within: within, at: n.clock.now()}
	n.clock.mu.Unlock()
}

// keepClock asks every peer of another organisation for the time as soon as it was let in, and every hour.
func (net *network) keepClock(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case node := <-net.clocks:
			wg.Go(func() { net.askClock(ctx, node) })
		case <-tick.C:
			for _, p := range net.mesh.Peers() {
				wg.Go(func() { net.askClock(ctx, p.Node) })
			}
			if err := net.n.keepClockTime(); err != nil {
				net.n.log.Error("noting the time failed", "err", err)
			}
		}
	}
}

func (net *network) askClock(ctx context.Context, node protocol.NodeID) {
	org, ok := net.known(node)
	if !ok || org == net.n.org {
		return // the clock of a sibling may be set by whoever set this one
	}
	var offset, within time.Duration
	var err error
	for try := range clockTries {
		if try > 0 && sleep(ctx, clockRetry) != nil {
			return
		}
		if offset, within, err = net.mesh.AskClock(ctx, node); err == nil {
			break
		}
	}
	if err != nil {
		net.n.log.Debug("a peer did not say the time", "node", node, "err", err)
		return
	}
	was := net.n.doubtClock()
	net.n.hearClock(org, offset, within)
	switch is := net.n.doubtClock(); {
	case is != nil && was == nil:
		net.n.log.Error("the clock is not believed any more; nothing is signed or published", "why", is.text)
	case is == nil && was != nil:
		net.n.log.Info("the clock is believed again")
		if err := net.n.keepClockTime(); err != nil {
			net.n.log.Error("noting the time failed", "err", err)
		}
		net.wake() // what could not be signed
	}
}
