package node

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// Scope is something that a consumer may do over the network. It narrows, as local rules do: neither
// gives what the other does not.
type Scope string

// The scopes.
const (
	ScopeRead     Scope = "read"
	ScopePublish  Scope = "publish"
	ScopeWithdraw Scope = "withdraw"
)

// Scopes lists the scopes.
func Scopes() []Scope { return []Scope{ScopeRead, ScopePublish, ScopeWithdraw} }

// Consumer is a machine or a person of this organisation that comes over the network, by a token.
type Consumer struct {
	Name string `json:"name"` // also the user of HTTP Basic
	As   string `json:"as"`   // as whom local rules see it: one of the people, or a person or a machine of the people file
	// Owner is who answers for it: it may do no more than they may, and ends when they leave. "" where it
	// was added before the node had people.
	Owner   string    `json:"owner,omitempty"`
	Scopes  []Scope   `json:"scopes"`
	Topics  []string  `json:"topics,omitempty"` // in which it may publish; the first is where it does if nothing says otherwise; none: in any
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	// Unconfirmed is one that came from a backup, and may have been removed since: it may not come until
	// somebody confirms it.
	Unconfirmed bool `json:"unconfirmed,omitempty"`

	// Principal is As in the rules that are in force.
	Principal *rules.Principal `json:"-"`

	id string
}

// May reports whether a scope was given.
func (c *Consumer) May(s Scope) bool { return slices.Contains(c.Scopes, s) }

// MayTopic reports whether it may publish in a topic.
func (c *Consumer) MayTopic(topic string) bool {
	return len(c.Topics) == 0 || slices.Contains(c.Topics, topic)
}

// consumerDoc is kept under the SHA-256 of the token, which is nowhere else: it has 160 random bits,
// so that a slow hash would protect nothing, and cost every request.
type consumerDoc struct {
	_       struct{} `cbor:",toarray"`
	Name    string
	As      string
	Scopes  []string
	Topics  []string
	Created uint64 // Unix milliseconds
	Expires uint64 // the same
	Doubted bool   // Unconfirmed
	Owner   string // one of the people; "": nobody, and not written: release 0.1 knew none
}

type (
	consumerDoc02 consumerDoc
	consumerDoc01 struct {
		_       struct{} `cbor:",toarray"`
		Name    string
		As      string
		Scopes  []string
		Topics  []string
		Created uint64
		Expires uint64
		Doubted bool
	}
)

// MarshalCBOR implements cbor.Marshaler.
func (d consumerDoc) MarshalCBOR() ([]byte, error) {
	if d.Owner == "" {
		return protocol.Encode(&consumerDoc01{Name: d.Name, As: d.As, Scopes: d.Scopes, Topics: d.Topics, Created: d.Created, Expires: d.Expires, Doubted: d.Doubted}), nil
	}
	return protocol.Encode((*consumerDoc02)(&d)), nil
}

// UnmarshalCBOR implements cbor.Unmarshaler.
func (d *consumerDoc) UnmarshalCBOR(b []byte) error {
	var old consumerDoc01
	if protocol.DecodeOwn(b, &old) == nil {
		*d = consumerDoc{Name: old.Name, As: old.As, Scopes: old.Scopes, Topics: old.Topics, Created: old.Created, Expires: old.Expires, Doubted: old.Doubted}
		return nil
	}
	return protocol.DecodeOwn(b, (*consumerDoc02)(d))
}

// Bounds of consumers.
const (
	maxConsumers    = 1000
	maxConsumerLife = 5 * 366 * 24 * time.Hour
	tokenSize       = 20 // bytes; 40 characters, as MISP wants of its keys
)

var consumerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// ErrUnauthorised is returned for a token that is not known, or not any more.
var ErrUnauthorised = errors.New("who asks is not known here: the token is wrong, has expired or was removed; 'entente consumer add' gives another one")

// AddConsumer lets somebody come over the network, and returns the token by which they do. It is not
// shown again.
func (n *Node) AddConsumer(c Consumer) (token string, err error) {
	now := time.UnixMilli(nowMillis())
	if c.As == "" {
		c.As = c.Name
	}
	switch {
	case !consumerName.MatchString(c.Name):
		return "", protocol.Errorf(protocol.ErrMalformed, "%q is no name for a consumer; use at most 64 letters, digits and . _ @ -", c.Name)
	case len(c.Scopes) == 0:
		return "", protocol.Errorf(protocol.ErrMalformed, "say what %s may do: %v", c.Name, Scopes())
	case !c.Expires.After(now) || c.Expires.Sub(now) > maxConsumerLife:
		return "", protocol.Errorf(protocol.ErrMalformed, "a token lasts until a day to come, at most five years from now")
	case len(c.As) > protocol.MaxNameSize || len(c.Topics) > maxViewList:
		return "", protocol.Errorf(protocol.ErrOversize, "the name of a person, or the list of topics, is too long")
	case n.gone(c.As):
		return "", fmt.Errorf("%s may not come to this node, so that nothing can come as them: %w", c.As, ErrNotFound)
	case n.HasPeople() && n.PersonOf(c.As) == nil:
		return "", fmt.Errorf("the people file names no person or machine %q; 'entente rules show' tells whom it does: %w", c.As, ErrNotFound)
	}
	if p := n.PersonOf(c.As); p != nil && p.Account {
		if c.Owner = cmp.Or(c.Owner, c.As); c.Owner != c.As {
			return "", protocol.Errorf(protocol.ErrMalformed, "what comes as %s is theirs, and not that of %s", c.As, c.Owner)
		}
	}
	d := consumerDoc{Name: c.Name, As: c.As, Owner: c.Owner, Topics: c.Topics, Created: uint64(now.UnixMilli()), Expires: uint64(c.Expires.UnixMilli())}
	for _, s := range c.Scopes {
		if !slices.Contains(Scopes(), s) {
			return "", protocol.Errorf(protocol.ErrMalformed, "%q is nothing that a consumer may do; use %v", s, Scopes())
		}
		d.Scopes = append(d.Scopes, string(s))
	}
	switch {
	case n.HasAccounts():
		if c.Owner == "" {
			return "", protocol.Errorf(protocol.ErrMalformed, "say which of the node's people answers for %s (--owner)", c.Name)
		}
		if err := n.mayOwn(c.Owner, d.Scopes); err != nil {
			return "", err
		}
	case c.Owner != "":
		return "", protocol.Errorf(protocol.ErrMalformed, "this node has no people yet who could own a consumer; 'entente people add' makes them")
	}
	secret := make([]byte, tokenSize)
	if _, err := rand.Read(secret); err != nil {
		return "", err
	}
	token = hex.EncodeToString(secret)
	id := tokenID(token)
	err = n.st.Update(func(tx *store.Tx) error {
		count := 0
		err := scanDocs(tx, kindConsumer, func(_ []byte, o *consumerDoc) error {
			if count++; o.Name == d.Name {
				return protocol.Errorf(protocol.ErrMalformed, "there is a consumer %q; remove it first, or take another name", d.Name)
			}
			return nil
		})
		if err == nil && count >= maxConsumers {
			err = protocol.Errorf(protocol.ErrOversize, "there are %d consumers; remove one first", count)
		}
		if err != nil {
			return err
		}
		return errors.Join(putDoc(tx, kindConsumer, id[:], &d), n.auditAccess(tx, "add consumer", fmt.Sprintf("%s as %s, %s%s", d.Name, d.As, strings.Join(d.Scopes, ", "), map[bool]string{true: ", owned by " + d.Owner}[d.Owner != ""])))
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

func tokenID(token string) [32]byte { return sha256.Sum256([]byte("entente/consumer/v1\x00" + token)) }

// Consumers lists who may come over the network, by name.
func (n *Node) Consumers() ([]Consumer, error) {
	list := []Consumer{}
	err := n.st.View(func(tx *store.Tx) error {
		list = list[:0]
		return scanDocs(tx, kindConsumer, func(id []byte, d *consumerDoc) error { list = append(list, d.consumer(id)); return nil })
	})
	slices.SortFunc(list, func(a, b Consumer) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}

func (d *consumerDoc) consumer(id []byte) Consumer {
	c := Consumer{Name: d.Name, As: d.As, Topics: d.Topics, Owner: d.Owner, Created: millis(d.Created), Expires: millis(d.Expires), Unconfirmed: d.Doubted, id: string(id)}
	for _, s := range d.Scopes {
		c.Scopes = append(c.Scopes, Scope(s))
	}
	return c
}

// RemoveConsumer ends a consumer's token; what it reads just now ends, too.
func (n *Node) RemoveConsumer(name string) error {
	err := n.st.Update(func(tx *store.Tx) error {
		var id []byte
		err := scanDocs(tx, kindConsumer, func(k []byte, d *consumerDoc) error {
			if d.Name == name {
				id = slices.Clone(k)
			}
			return nil
		})
		if err == nil && id == nil {
			err = fmt.Errorf("consumer %q: %w", name, ErrNotFound)
		}
		if err != nil {
			return err
		}
		return errors.Join(tx.Delete(append([]byte(kindConsumer), id...)), n.auditAccess(tx, "remove consumer", name))
	})
	if err == nil {
		n.changes.notify()
	}
	return err
}

// consumerNamed finds a consumer by its name; ErrNotFound if there is none.
func consumerNamed(tx *store.Tx, name string) (id []byte, held consumerDoc, err error) {
	err = scanDocs(tx, kindConsumer, func(k []byte, d *consumerDoc) error {
		if d.Name == name {
			id, held = slices.Clone(k), *d
		}
		return nil
	})
	if err == nil && id == nil {
		err = fmt.Errorf("consumer %q: %w", name, ErrNotFound)
	}
	return id, held, err
}

// ConfirmConsumer lets a consumer that came from a backup come again by the token that it had.
func (n *Node) ConfirmConsumer(name string) error {
	return n.st.Update(func(tx *store.Tx) error {
		id, held, err := consumerNamed(tx, name)
		if err != nil || !held.Doubted {
			return err
		}
		held.Doubted = false
		return errors.Join(putDoc(tx, kindConsumer, id, &held), n.auditAccess(tx, "confirm consumer", fmt.Sprintf("%s as %s, %s", held.Name, held.As, strings.Join(held.Scopes, ", "))))
	})
}

// consumerProblems tells of consumers that nobody confirmed since a restore.
func (n *Node) consumerProblems(st *Status) error {
	list, err := n.Consumers()
	doubted := 0
	for i := range list {
		if list[i].Unconfirmed && list[i].Expires.UnixMilli() > nowMillis() {
			doubted++
		}
	}
	if doubted > 0 {
		st.Problems = append(st.Problems, Problem{Kind: "consumers-unconfirmed", Severity: "error", Text: fmt.Sprintf("%d consumers came from a backup, which may hold ones that were removed since; they are refused until somebody confirms them", doubted),
			Do: "look at them with 'entente consumer list', then 'entente consumer confirm NAME' or '--all', and 'entente consumer remove' those that were removed"})
	}
	return err
}

// ConsumerOf returns whose a token is; ErrUnauthorised if it is nobody's. User is the name that came
// with it, if one did: it must be theirs.
func (n *Node) ConsumerOf(user, token string) (*Consumer, error) {
	id := tokenID(token)
	c, err := n.consumer(id[:])
	if err != nil {
		return nil, err
	}
	if user != "" && subtle.ConstantTimeCompare([]byte(user), []byte(c.Name)) != 1 {
		return nil, ErrUnauthorised
	}
	return c, nil
}

// Renewed returns the consumer as it stands now; ErrUnauthorised if it may not come any more.
func (n *Node) Renewed(c *Consumer) (*Consumer, error) { return n.consumer([]byte(c.id)) }

func (n *Node) consumer(id []byte) (*Consumer, error) {
	var d consumerDoc
	ok := false
	err := n.st.View(func(tx *store.Tx) (err error) { ok, err = getDoc(tx, kindConsumer, id, &d); return err })
	if err != nil {
		return nil, err
	}
	if !ok || uint64(nowMillis()) >= d.Expires {
		return nil, ErrUnauthorised
	}
	if d.Doubted {
		return nil, fmt.Errorf("this node was restored from a backup, and nobody has confirmed this consumer since; 'entente consumer confirm %s' does: %w", d.Name, ErrUnauthorised)
	}
	c := d.consumer(id)
	s := n.snap.Load()
	if who, _ := s.people.of(c.Owner); s.people.setUp() && c.Owner != "" {
		if who == nil {
			return nil, fmt.Errorf("%s, who answered for it, is not one of the node's people: %w", c.Owner, ErrUnauthorised)
		}
		c.Scopes = slices.DeleteFunc(c.Scopes, func(scope Scope) bool { return who.Bound(scope.right()) != nil })
		if len(c.Scopes) == 0 {
			return nil, fmt.Errorf("%s, who answers for it, may do nothing of what it may: %w", c.Owner, ErrUnauthorised)
		}
	}
	switch p := n.PersonOf(c.As); {
	case n.gone(c.As):
		return nil, fmt.Errorf("%s is not one of the node's people any more: %w", c.As, ErrUnauthorised)
	case p != nil:
		c.Principal = p
	case n.HasPeople():
		return nil, fmt.Errorf("the people file names no %q any more: %w", c.As, ErrUnauthorised)
	default:
		c.Principal = &rules.Principal{ID: c.As, Name: c.Name, Roles: []string{}, Machine: true}
	}
	return &c, nil
}

// right is what its owner needs for a scope.
func (s Scope) right() rules.Action {
	if s == ScopeRead {
		return rules.Records
	}
	return rules.Publish
}

// mayOwn refuses an owner who may not do themselves what a consumer may.
func (n *Node) mayOwn(owner string, scopes []string) error {
	who, _ := n.snap.Load().people.of(owner)
	if who == nil {
		return fmt.Errorf("nobody of this node's people is called %q; 'entente people list' shows who is: %w", owner, ErrNotFound)
	}
	for _, s := range scopes {
		if err := who.Bound(Scope(s).right()); err != nil {
			return fmt.Errorf("a consumer may %s only if who answers for it may: %w: %w", s, err, ErrForbidden)
		}
	}
	return nil
}

// OwnConsumer has one of the people answer for a consumer.
func (n *Node) OwnConsumer(name, owner string) error {
	return n.st.Update(func(tx *store.Tx) error {
		id, held, err := consumerNamed(tx, name)
		if err == nil {
			err = n.mayOwn(owner, held.Scopes)
		}
		if p := n.PersonOf(held.As); err == nil && p != nil && p.Account && p.ID != owner {
			err = protocol.Errorf(protocol.ErrMalformed, "what comes as %s is theirs, and not that of %s", held.As, owner)
		}
		if err != nil {
			return err
		}
		held.Owner = owner
		return errors.Join(putDoc(tx, kindConsumer, id, &held), n.auditAccess(tx, "own consumer", held.Name+" is owned by "+owner))
	})
}

// settingServe is where the certificate is kept that a node made for itself.
const settingServe = "serve"

type serveDoc struct {
	_    struct{} `cbor:",toarray"`
	Cert []byte   // DER
	Key  []byte   // PKCS #8
}

// ServesUntil says who knows until when the certificate is valid under which consumers are served: it
// may be renewed meanwhile. A zero time is not known.
func (n *Node) ServesUntil(ends func() time.Time) { n.certificateEnds.Store(&ends) }

// ServeCertificate returns the certificate and key, both DER, under which this node serves consumers
// if it was given none; make makes one if there is none yet. It is kept encrypted, as the store is, and
// stays out of backups: another machine makes its own.
func (n *Node) ServeCertificate(renew func(cert []byte) bool, make func() (cert, key []byte, err error)) (cert, key []byte, err error) {
	err = n.st.Update(func(tx *store.Tx) error {
		var d serveDoc
		ok, err := getDoc(tx, kindSetting, []byte(settingServe), &d)
		if err != nil {
			return err
		}
		if !ok || renew(d.Cert) {
			if d.Cert, d.Key, err = make(); err != nil {
				return err
			}
			if err := putDoc(tx, kindSetting, []byte(settingServe), &d); err != nil {
				return err
			}
		}
		cert, key = d.Cert, d.Key
		return nil
	})
	return cert, key, err
}
