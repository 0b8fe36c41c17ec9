package policy

import (
	"math"
	"sync"

	"github.com/entente-mesh/entente/protocol"
)

// CacheKey names one class of decisions: all that Ingress looks at, but the time.
type CacheKey struct {
	Generation uint64
	Publisher  protocol.OrgID
	Originator protocol.OrgID
	Topic      string
	Kind       string
	Handling   string // encoded
	Confidence uint8
	Path       string // the ids of who passed it on, one after another
	Principal  protocol.OrgID
}

// Cache keeps decisions by class, so that the cost of a record does not grow with the number
// of agreements. It may be used concurrently.
type Cache struct {
	mu         sync.RWMutex
	generation uint64
	m          map[CacheKey]cached
}

type cached struct {
	decision Decision
	from     uint64 // the time it was made for: it holds from there to ValidUntil
}

// maxCached bounds the classes kept; a full cache is emptied.
const maxCached = 1 << 14

// NewCache makes an empty cache.
func NewCache() *Cache { return &Cache{m: map[CacheKey]cached{}} }

// Get returns a decision made in the same generation, if it holds at the time at.
func (c *Cache) Get(k CacheKey, at uint64) (Decision, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, ok := c.m[k]
	if !ok || at < e.from || at >= e.decision.ValidUntil && e.decision.ValidUntil != math.MaxUint64 {
		return Decision{}, false
	}
	return e.decision, true
}

// Put keeps a decision that was made for the time at.
func (c *Cache) Put(k CacheKey, at uint64, d Decision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case k.Generation < c.generation:
		return
	case k.Generation > c.generation, len(c.m) >= maxCached:
		clear(c.m)
		c.generation = k.Generation
	}
	c.m[k] = cached{decision: d, from: at}
}
