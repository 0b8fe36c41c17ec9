package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/node/doctor"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// DefaultOrgQuota bounds, in bytes, the entries held of one organisation over all its feeds
// and nodes if no agreement was ever signed with it: what is held of it is held for others.
const DefaultOrgQuota = 8 << 30

// DefaultPartnerQuota is the same for organisations with which one was signed: what they send
// may be for this organisation, and a partner may be taken over all the same.
const DefaultPartnerQuota = 64 << 30

// room keeps disk and shares within their bounds.
type room struct {
	mu    sync.RWMutex
	bytes map[protocol.OrgID]int64 // of entries, by publisher

	used atomic.Int64 // bytes of the data directory, as last looked at
	full atomic.Bool
	low  atomic.Bool   // the disk was below its floor, as last looked at
	over atomic.Uint64 // entries refused because of a quota

	dirs []string // whose disks have to have room: none in a simulation
	free func(dir string) (uint64, error)
}

func newRoom() *room { return &room{bytes: map[protocol.OrgID]int64{}, free: disk.Free} }

// ErrNoRoom is returned while the disk of the data directory, or of the anchor, has less left than
// doctor.SpaceFloor. Nothing is published or taken from peers until there is room.
var ErrNoRoom = errors.New("the disk is almost full")

// ErrFull is returned where the disk limit is reached and nothing may be evicted. Nothing is
// published or taken from peers until there is room.
var ErrFull = errors.New("the disk limit is reached, and nothing that may go can go: make room, or raise --disk-limit")

func (r *room) check() error {
	if r.full.Load() {
		return ErrFull
	}
	return r.floor()
}

// floor looks at the disks themselves: others may fill them too, and faster than keepRoom looks.
func (r *room) floor() error {
	if dir, free, known := r.least(); known && free < doctor.SpaceFloor {
		return fmt.Errorf("%w: %d MiB are left for %s, and nothing is published or taken from peers until there are %d MiB: make room", ErrNoRoom, free>>20, dir, doctor.SpaceFloor>>20)
	}
	return nil
}

// least returns the directory whose disk has the fewest bytes left, and how many; known is false if no disk tells.
func (r *room) least() (dir string, free uint64, known bool) {
	for _, d := range r.dirs {
		if left, err := r.free(d); err == nil && (!known || left < free) {
			dir, free, known = d, left, true
		}
	}
	return dir, free, known
}

// noRoom reports whether something failed for want of room: 'status' says so while it lasts, and
// what was not taken comes when there is room again.
func noRoom(err error) bool {
	return errors.Is(err, ErrFull) || errors.Is(err, ErrNoRoom) || errors.Is(err, store.ErrNoSpace)
}

func (r *room) add(bytes map[protocol.OrgID]int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for org, b := range bytes {
		r.bytes[org] += b
	}
}

// DiskStatus says how much room is taken.
type DiskStatus struct {
	Used  int64 `json:"used"`            // bytes of the data directory
	Limit int64 `json:"limit,omitempty"` // bytes; 0: none
	// Free is how many bytes the file system of the data directory has left, or that of the anchor, if that is less; nil: not known.
	Free      *uint64 `json:"free,omitempty"`
	Full      bool    `json:"full,omitempty"`
	OverQuota uint64  `json:"over_quota,omitempty"` // entries refused because of quotas since the start
	Evicted   uint64  `json:"evicted,omitempty"`    // bodies of others, for others, that two more nodes hold
}

func (n *Node) diskStatus() DiskStatus {
	d := DiskStatus{Used: n.room.used.Load(), Limit: n.cfg.DiskLimit, Full: n.room.full.Load(), OverQuota: n.room.over.Load()}
	if _, free, known := n.room.least(); known {
		d.Free = &free
	}
	_ = n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error { d.Evicted += f.Evicted; return nil })
	})
	return d
}

// inQuota checks that an organisation has room for more bytes. Quotas count over all its
// feeds: a feed costs its author nothing.
func (n *Node) inQuota(s *snapshot, org protocol.OrgID, more int64) error {
	if org == n.org {
		return nil
	}
	n.room.mu.RLock()
	used := n.room.bytes[org]
	n.room.mu.RUnlock()
	if quota := n.quota(s, org); used+more > quota {
		return fmt.Errorf("%w: %s has used up its share of %d MiB here", errQuota, s.name(org), quota>>20)
	}
	return nil
}

// quota returns the bytes of entries that are held of another organisation.
func (n *Node) quota(s *snapshot, org protocol.OrgID) int64 {
	if s.agreed(n.org, org) {
		return n.cfg.PartnerQuota
	}
	return n.cfg.OrgQuota
}

// shares lists the organisations that have used most of their share, in words.
func (n *Node) shares(s *snapshot) (out []string) {
	n.room.mu.RLock()
	defer n.room.mu.RUnlock()
	for org, used := range n.room.bytes {
		if quota := n.quota(s, org); org != n.org && used > quota/10*9 {
			out = append(out, fmt.Sprintf("%s has used %d of its %d MiB", s.name(org), used>>20, quota>>20))
		}
	}
	slices.Sort(out)
	return out
}

// errQuota is nobody's fault who passes an entry on.
var errQuota = errors.New("over quota")

// loadRoom counts what is held of every organisation.
func (n *Node) loadRoom() error {
	s := n.snap.Load()
	err := n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			n.room.bytes[s.signers[f.Origin.Signing].org] += int64(f.Bytes)
			return nil
		})
	})
	if err == nil {
		n.room.used.Store(diskUsed(n.cfg.Dir))
		n.room.full.Store(n.cfg.DiskLimit > 0 && n.room.used.Load() > n.cfg.DiskLimit)
	}
	return err
}

func diskUsed(dir string) (sum int64) {
	if dir == "" {
		return 0
	}
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // files come and go while it runs
		}
		if info, err := d.Info(); err == nil {
			sum += allocated(info)
		}
		return nil
	})
	return sum
}

// lookAtDisk is how often the room that is taken is looked at.
const lookAtDisk = 10 * time.Second

// keepRoom keeps the data within the disk limit until ctx ends.
func (net *network) keepRoom(ctx context.Context) {
	n := net.n
	for sleep(ctx, lookAtDisk) == nil {
		if n.cfg.Dir == "" {
			continue
		}
		net.lookAtFloor()
		if err := net.makeRoom(ctx); err != nil && ctx.Err() == nil {
			n.log.Error("making room failed", "err", err)
		}
	}
}

// lookAtFloor says when the disk came to its floor, and goes on with what waited when it left that.
func (net *network) lookAtFloor() {
	n := net.n
	err := n.room.floor()
	switch was := n.room.low.Swap(err != nil); {
	case err != nil && !was:
		n.log.Error("the node stops publishing and taking", "err", err)
	case err == nil && was:
		n.log.Info("the disk has room again")
		if err := n.gate.drain(); err != nil {
			n.log.Error("opening what was stored failed; it is tried again", "err", err)
		}
		net.markDirty()
	}
}

// makeRoom evicts while the limit is exceeded, and says so where nothing may go.
func (net *network) makeRoom(ctx context.Context) error {
	n := net.n
	n.room.used.Store(diskUsed(n.cfg.Dir))
	over := n.room.used.Load() - n.cfg.DiskLimit
	if n.cfg.DiskLimit == 0 || over <= 0 {
		n.room.full.Store(false)
		return nil
	}
	freed, err := net.evict(ctx, over)
	if err != nil {
		return err
	}
	if freed > 0 {
		// What was deleted leaves the disk when the database has rewritten its tables.
		if err := n.st.Compact(); err != nil {
			return err
		}
	}
	n.room.used.Store(diskUsed(n.cfg.Dir))
	full := n.room.used.Load() > n.cfg.DiskLimit && freed < over
	if full && !n.room.full.Load() {
		n.log.Error("the disk limit is reached, and nothing that may go can go; nothing is published or taken from peers", "limit", n.cfg.DiskLimit)
	}
	n.room.full.Store(full)
	return nil
}

// witnesses is how many nodes of other organisations must have signed that they hold a body
// before it is evicted here.
const witnesses = 2

// evict drops bodies that this organisation neither wrote nor may read, from the organisation
// with the largest share first, where witnesses have signed that they hold them. It returns
// how many bytes it dropped.
func (net *network) evict(ctx context.Context, want int64) (freed int64, err error) {
	n := net.n
	s := n.snap.Load()
	type candidate struct {
		feed  *store.Feed
		org   protocol.OrgID
		share int64
	}
	var list []candidate
	err = n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			org := s.signers[f.Origin.Signing].org
			if org != n.org && s.topics[f.Origin.Topic] != protocol.ControlTopic && f.Bytes > 0 {
				n.room.mu.RLock()
				list = append(list, candidate{f, org, n.room.bytes[org]})
				n.room.mu.RUnlock()
			}
			return nil
		})
	})
	slices.SortFunc(list, func(a, b candidate) int { return int(min(max(b.share-a.share, -1), 1)) })
	for _, c := range list {
		if err != nil || freed >= want {
			break
		}
		var held []*protocol.Receipt
		if held, err = net.holders(ctx, c.feed, c.org); err != nil || len(held) < witnesses {
			continue
		}
		var got int64
		got, err = n.evictFeed(c.feed, held, want-freed)
		freed += got
		n.room.add(map[protocol.OrgID]int64{c.org: -got})
	}
	return freed, err
}

// holders asks connected peers, one of each organisation other than the author's, what they
// hold of a feed.
func (net *network) holders(ctx context.Context, f *store.Feed, author protocol.OrgID) (out []*protocol.Receipt, err error) {
	s, feed := net.n.snap.Load(), f.ID
	seen := map[protocol.OrgID]bool{author: true, net.n.org: true}
	for _, p := range net.mesh.Peers() {
		if seen[p.Org] || !s.shares(f.Origin.Topic, p.Org) {
			continue
		}
		a, err := net.mesh.Ask(ctx, p.Node, &protocol.SyncMessage{Version: 1, Kind: protocol.SyncReceipts, Pull: []protocol.PullRange{{Feed: feed, From: 1, Count: 1}}})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil || a.Kind != protocol.SyncReceipts || len(a.Receipts) != 1 {
			continue
		}
		r, err := crypto.VerifyReceipt(s.network, &a.Receipts[0])
		if err != nil || r.Origin.FeedID(s.network) != feed || s.signers[r.Holder].node != p.Node {
			continue
		}
		seen[p.Org] = true
		out = append(out, r)
	}
	return out, nil
}

// evictFeed drops the bodies of one feed that are not for this organisation and that enough
// others hold.
func (n *Node) evictFeed(f *store.Feed, held []*protocol.Receipt, want int64) (freed int64, err error) {
	var seqs []uint64
	err = n.st.View(func(tx *store.Tx) error {
		// An equal seq with another hash would be another history.
		good := held[:0:0]
		for _, r := range held {
			h, err := n.hashAt(tx, f.ID, r.Seq)
			if err != nil {
				return err
			}
			if r.Seq > f.Seq || h == r.Hash {
				good = append(good, r)
			}
		}
		held = good
		list, err := tx.EntriesIn(f.ID, store.NotForUs)
		seqs = list
		return err
	})
	for part := range slices.Chunk(seqs, 256) {
		if err != nil || freed >= want {
			break
		}
		err = n.st.Update(func(tx *store.Tx) error {
			for _, seq := range part {
				count := 0
				for _, r := range held {
					if r.Holds(seq) {
						count++
					}
				}
				if count < witnesses || freed >= want {
					continue
				}
				got, err := tx.Evict(f.ID, seq)
				if err != nil {
					return err
				}
				freed += int64(got)
			}
			return nil
		})
	}
	return freed, err
}

// allocated returns the bytes that a file takes on disk: Badger's files are sparse.
func allocated(info os.FileInfo) int64 { return blocks(info) }
