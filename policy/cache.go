package policy

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/entente-mesh/entente/protocol"
)

// CacheKey names one class of decisions: all that Ingress and Audience look at, but the time.
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
	audiences  map[CacheKey]cachedAudience
	held       int // decisions in audiences
	made       atomic.Uint64
}

type cached struct {
	decision Decision
	from     uint64 // the time it was made for: it holds from there to ValidUntil
}

type cachedAudience struct {
	decisions   []OrgDecision
	from, until uint64 // it holds from the one to the other
}

// maxCached bounds the classes kept; a full cache is emptied.
const maxCached = 1 << 14

// maxCachedAudience bounds the decisions of audiences kept, of some 150 bytes each: those of 256
// classes with 1,000 partners. If there are more, all are let go.
const maxCachedAudience = 1 << 18

// NewCache makes an empty cache.
func NewCache() *Cache {
	return &Cache{m: map[CacheKey]cached{}, audiences: map[CacheKey]cachedAudience{}}
}

// Made returns how many decisions were made because none was held.
func (c *Cache) Made() uint64 { return c.made.Load() }

// Audience returns what the function of that name does, without the sentences for persons: once
// for a class, as long as time alone does not change it. The caller must not change what it
// returns.
func (c *Cache) Audience(s *State, k CacheKey, subj *Subject, at uint64) []OrgDecision {
	c.mu.RLock()
	a, ok := c.audiences[k]
	c.mu.RUnlock()
	if ok && holdsAt(a.from, a.until, at) {
		return a.decisions
	}
	a = cachedAudience{decisions: Audience(s, subj, at), from: at, until: math.MaxUint64}
	for i := range a.decisions {
		d := &a.decisions[i].Decision
		d.Text = ""
		a.until = min(a.until, d.ValidUntil)
	}
	c.made.Add(uint64(len(a.decisions)))
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.turnTo(k.Generation) {
		return a.decisions
	}
	c.held += len(a.decisions) - len(c.audiences[k].decisions)
	if c.held > maxCachedAudience || len(c.audiences) >= maxCached {
		clear(c.audiences)
		c.held = len(a.decisions)
	}
	c.audiences[k] = a
	return a.decisions
}

// holdsAt reports whether what was decided for one time, and until another, holds at a time.
func holdsAt(from, until, at uint64) bool {
	return at >= from && (at < until || until == math.MaxUint64)
}

// turnTo lets go what was decided in an earlier generation. It reports whether the one given is
// not an earlier one itself.
func (c *Cache) turnTo(generation uint64) bool {
	if generation > c.generation {
		clear(c.m)
		clear(c.audiences)
		c.held, c.generation = 0, generation
	}
	return generation == c.generation
}

// Get returns a decision made in the same generation, if it holds at the time at.
func (c *Cache) Get(k CacheKey, at uint64) (Decision, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, ok := c.m[k]
	if !ok || !holdsAt(e.from, e.decision.ValidUntil, at) {
		return Decision{}, false
	}
	return e.decision, true
}

// Put keeps a decision that was made for the time at.
func (c *Cache) Put(k CacheKey, at uint64, d Decision) {
	c.made.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.turnTo(k.Generation) {
		return
	}
	if len(c.m) >= maxCached {
		clear(c.m)
	}
	c.m[k] = cached{decision: d, from: at}
}
