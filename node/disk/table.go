package disk

import "hash/fnv"

// Snapshot is a table as it was at one moment: keys and values, in the order of the keys. It
// never changes, and costs nothing to keep: tables share what they have in common. The zero
// value is empty.
type Snapshot struct {
	root  *leaf
	bytes int64
}

// leaf is one key in a treap: a search tree by key, a heap by order. The order follows from
// the key, so a tree depends on what is in it alone.
type leaf struct {
	key         string
	value       []byte
	order       uint64
	left, right *leaf
}

// Get returns the value of a key, which is not to be changed.
func (s Snapshot) Get(key []byte) (value []byte, ok bool) {
	for n := s.root; n != nil; {
		switch {
		case n.key == string(key):
			return n.value, true
		case string(key) < n.key:
			n = n.left
		default:
			n = n.right
		}
	}
	return nil, false
}

// Bytes returns how long all keys and values are together.
func (s Snapshot) Bytes() int64 { return s.bytes }

func (s Snapshot) put(key string, value []byte) Snapshot {
	h := fnv.New64a()
	h.Write([]byte(key))
	mixed := h.Sum64() * 0x9e3779b97f4a7c15
	if old, ok := s.Get([]byte(key)); ok {
		s.bytes -= int64(len(key) + len(old))
	}
	s.bytes += int64(len(key) + len(value))
	s.root = put(s.root, &leaf{key: key, value: value, order: mixed ^ mixed>>29})
	return s
}

func put(n, add *leaf) *leaf {
	if n == nil {
		return add
	}
	c := *n
	switch {
	case add.key == n.key:
		c.value = add.value
	case add.key < n.key:
		c.left = put(n.left, add)
		if l := c.left; l.order > c.order {
			c.left, l.right = l.right, &c
			return l
		}
	default:
		c.right = put(n.right, add)
		if r := c.right; r.order > c.order {
			c.right, r.left = r.left, &c
			return r
		}
	}
	return &c
}

func (s Snapshot) delete(key string) Snapshot {
	old, ok := s.Get([]byte(key))
	if !ok {
		return s
	}
	s.bytes -= int64(len(key) + len(old))
	s.root = remove(s.root, key)
	return s
}

func remove(n *leaf, key string) *leaf {
	if n.key == key {
		return join(n.left, n.right)
	}
	c := *n
	if key < n.key {
		c.left = remove(n.left, key)
	} else {
		c.right = remove(n.right, key)
	}
	return &c
}

func join(a, b *leaf) *leaf {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.order > b.order:
		c := *a
		c.right = join(a.right, b)
		return &c
	}
	c := *b
	c.left = join(a, b.left)
	return &c
}

// Cursor goes through a Snapshot. It stands at a key while Valid.
type Cursor struct {
	path    []*leaf // the last one is where it stands; the others come after it
	reverse bool
}

// Seek returns a cursor at the first key that is not below from; in reverse at the last one
// that is not above it, and going back.
func (s Snapshot) Seek(from []byte, reverse bool) *Cursor {
	c := &Cursor{reverse: reverse}
	for n := s.root; n != nil; {
		if !reverse && n.key >= string(from) || reverse && n.key <= string(from) {
			c.path = append(c.path, n)
			n = c.near(n)
		} else {
			n = c.far(n)
		}
	}
	return c
}

func (c *Cursor) near(n *leaf) *leaf {
	if c.reverse {
		return n.right
	}
	return n.left
}

func (c *Cursor) far(n *leaf) *leaf {
	if c.reverse {
		return n.left
	}
	return n.right
}

// Valid reports whether the cursor stands at a key.
func (c *Cursor) Valid() bool { return len(c.path) > 0 }

// Key returns the key at which the cursor stands.
func (c *Cursor) Key() string { return c.path[len(c.path)-1].key }

// Value returns the value at which the cursor stands; it is not to be changed.
func (c *Cursor) Value() []byte { return c.path[len(c.path)-1].value }

// Next moves on by one key.
func (c *Cursor) Next() {
	n := c.path[len(c.path)-1]
	c.path = c.path[:len(c.path)-1]
	for n = c.far(n); n != nil; n = c.near(n) {
		c.path = append(c.path, n)
	}
}

// Table returns a table as it is now; one that was never written is empty.
func (d *Disk) Table(name string) Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.tables[name]; t != nil {
		return t.now
	}
	return Snapshot{}
}

// Commit changes a table: all or nothing, and durably when it returns. A nil value deletes
// its key. The values are kept; they are not to be changed any more.
func (d *Disk) Commit(name string, changes func(set func(key string, value []byte))) {
	d.change("committing", name, func() {
		d.init()
		t := d.tables[name]
		if t == nil {
			t = &tableState{}
			d.tables[name] = t
		}
		d.commit(t, name, changes)
	})
}
