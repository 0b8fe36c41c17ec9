package node

import (
	"fmt"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// The node's own documents in the store live under the prefix "n/", one kind each, encoded
// like everything else with the strict encoding of package protocol.
const (
	kindCard         = "n/card/"
	kindRoster       = "n/roster/"
	kindPin          = "n/pin/"
	kindAgreement    = "n/agreement/"
	kindTopic        = "n/topic/"
	kindSecret       = "n/secret/"
	kindSetting      = "n/setting/"
	kindFeedNumber   = "n/incarnation/"
	kindPublished    = "n/published/"
	kindQuarantine   = "n/quarantine/"
	kindFork         = "n/fork/"
	kindErase        = "n/erase/"
	kindHead         = "n/head/"
	kindWithheld     = "n/withheld/"
	kindLate         = "n/late/"
	kindReceipt      = "n/receipt/"
	kindGone         = "n/gone/"     // trust and topics that were taken back, for siblings
	kindErasure      = "n/erasure/"  // what this organisation erased for itself
	kindDue          = "n/due/"      // records that entries of this organisation still hold, and that it erased
	kindConflict     = "n/conflict/" // cards of one order that differ
	kindHandout      = "n/handout/"  // what left this node in files and streams
	kindAddrs        = "n/addrs/"    // where nodes of this organisation say that they listen
	kindLetter       = "n/letter/"
	kindExclusion    = "n/exclusion/"    // what originators said after they published, by hash
	kindExcluded     = "n/excluded/"     // records that they are about
	kindExcludeDue   = "n/excludedue/"   // those to be told to who had the records from here
	kindExcludeWait  = "n/excludewait/"  // of those the ones that wait for an agreement
	kindExclusionAck = "n/exclusionack/" // what those who were told of exclusions signed
	kindAckDue       = "n/ackdue/"       // exclusions of which who told is to hear
	kindRequest      = "n/request/"      // what partners asked, or were asked, with the replies
	kindRefusal      = "n/refusal/"      // what partners set aside of what this organisation published
	kindRules        = "n/rules/"        // the local rules in force
	kindHistory      = "n/history/"      // agreements and partners that were given what was before
	kindVolume       = "n/volume/"       // how much went under terms that limit it, by day
	kindRelease      = "n/release/"      // what may be passed on when persons approve
	kindDenied       = "n/denied/"       // records that a person did not release, and for whom
	kindForward      = "n/forward/"      // withdrawals to be told to who had the records from here
	kindForwardWait  = "n/forwardwait/"  // of those the ones that wait for an agreement
	kindCosigned     = "n/cosigned/"     // where partners' audit logs stood when this node last cosigned them
	kindAudit        = "n/audit/"        // the audit log; package audit says how it is laid out
	kindAgain        = "n/again/"        // feeds to be gone through again: something came that may open entries of them
	kindHold         = "n/hold/"         // legal holds
	kindKept         = "n/kept/"         // what would have been erased, and is under a hold
	kindErasureAsk   = "n/erasureask/"   // requests to erase, made and got, with the answers
	kindMandate      = "n/mandate/"      // mandates to publish on behalf of another, given and held
	kindOrigin       = "n/origin/"       // where records came from whose origin was withheld here, by the copy
	kindCopies       = "n/copies/"       // the copies of a record of another, its origin withheld
	kindCopyDue      = "n/copydue/"      // copies that are to follow what became of the original
	kindRulesOf      = "n/rulesof/"      // which rules each node of this organisation says that it has in force
	kindOtherwise    = "n/otherwise/"    // checkpoints of this node's own logs that contradict them, as cosigners hold them
	kindView         = "n/view/"         // saved searches
	kindOutput       = "n/output/"       // warninglists, in parts
	kindOutputState  = "n/outputstate/"  // the serials of zones that were served
	kindTaxii        = "n/taxii/"        // the key of TAXII's paging, and status resources
	kindMisp         = "n/misp/"         // members of the mesh by their UUIDs in MISP, and the label of what it pushes
	kindConsumer     = "n/consumer/"     // who may come in over the network, by the hash of the token
	kindMirror       = "n/mirror/"       // what a database that follows the corpus knows this data directory by
	kindDirect       = "n/direct/"       // direct topics: who may hold what is not for every member
	kindSink         = "n/sink/"         // where changes are delivered, and how far that has come
	kindSource       = "n/source/"       // where this node fetches what it publishes
	kindSourceState  = "n/sourcestate/"  // how far each of them has come, and what it gave already
	kindDeadLetter   = "n/deadletter/"   // what they gave and what did not become a record
	kindRecipient    = "n/recipient/"    // which age recipients nodes of this organisation want on the card
	kindLostGrant    = "n/lostgrant/"    // feeds with grants that were sealed to an identity that is gone
	kindErasedHere   = "n/erasedhere/"   // what no source is to bring back, by hash

	kindPublishedEnd = "n/publishedend/" // envelopes published, by the end of their retention
	kindMigration    = "n/migration/"    // how this data directory was migrated, by the format it came from
	kindPerson       = "n/person/"       // the people of this organisation, and those who left
	kindSecond       = "n/second/"       // which acts need a second person
	kindPending      = "n/pending/"      // acts that wait for one
)

const maxDocument = 8 << 20

// networkDoc says which network this node is a member of.
type networkDoc struct {
	_         struct{} `cbor:",toarray"`
	Network   protocol.NetworkID
	Bootstrap []protocol.Bootstrap
}

// pinDoc records that a person checked an organisation's fingerprint.
type pinDoc struct {
	_  struct{} `cbor:",toarray"`
	At uint64
}

// conflictDoc notes that there are two cards of one order: that of the card that is held.
type conflictDoc struct {
	_     struct{} `cbor:",toarray"`
	Order protocol.CardOrder
	At    uint64
}

// goneDoc notes that trust was taken back, or a topic left.
type goneDoc struct {
	_    struct{} `cbor:",toarray"`
	Name string   // of a topic
	At   uint64
}

// erasureDoc is an erasure by this organisation for itself.
type erasureDoc struct {
	_    struct{} `cbor:",toarray"`
	Item []byte   // encoded protocol.SiblingErasure
	Done bool     // its records are out of the corpus and in the journal
}

// dueDoc is a record that this organisation erased, in an entry of its own whose sealed body still
// holds it: its publisher has to erase it for everybody, or, once that was removed, whoever answers
// for it then. It is kept under the entry and the record.
type dueDoc struct {
	_      struct{} `cbor:",toarray"`
	Reason protocol.EraseReason
}

// addrsDoc is where a node says that it listens.
type addrsDoc struct {
	_     struct{} `cbor:",toarray"`
	At    uint64
	Addrs []string
}

// topicDoc is a topic that this node is in.
type topicDoc struct {
	_    struct{} `cbor:",toarray"`
	Name string
	At   uint64
}

// secretDoc is the topic secret of one period.
type secretDoc struct {
	_      struct{} `cbor:",toarray"`
	Period uint32
	Secret [32]byte
}

// agreementDoc is an agreement with its whole life.
type agreementDoc struct {
	_            struct{} `cbor:",toarray"`
	Signed       []byte   // encoded protocol.SignedAgreement, with all signatures seen so far
	FirstSeen    uint64
	Proposer     protocol.OrgID
	Rejections   [][]byte // encoded protocol.OrgSigned
	Terminations [][]byte // encoded protocol.OrgSigned
	Suspensions  [][]byte // encoded protocol.OrgSigned
	Complete     uint64   // when all had signed, as first seen here; 0: not yet
}

// publishedDoc says for whom an own envelope was sealed.
type publishedDoc struct {
	_          struct{}         `cbor:",toarray"`
	Orgs       []protocol.OrgID // sorted
	Topic      string
	Generation uint64
	At         uint64
	// RetentionDays of its records, 0 if they state none; Expired once its erase was signed.
	RetentionDays uint32
	Expired       bool
}

// end is when the retention of its records ends, Unix milliseconds, if they state one.
func (d *publishedDoc) end() uint64 { return d.At + uint64(d.RetentionDays)*dayMillis }

const dayMillis = 24 * 3600 * 1000

// withheldDoc is what a publisher answered about keys that this node lacks.
type withheldDoc struct {
	_         struct{} `cbor:",toarray"`
	Envelopes uint64
	Reason    string
	At        uint64
}

// quarantineDoc is a record, or a whole entry, that arrived and is not to be used.
type quarantineDoc struct {
	_         struct{} `cbor:",toarray"`
	Feed      protocol.FeedID
	Seq       uint64
	Index     uint32
	Record    protocol.RecordID
	Publisher protocol.OrgID
	Topic     string
	Reason    string
	Text      string
	At        uint64
	StixID    string
	Type      string
}

func putDoc(tx *store.Tx, kind string, id []byte, doc any) error {
	return tx.Set(append([]byte(kind), id...), protocol.Encode(doc))
}

func getDoc(tx *store.Tx, kind string, id []byte, doc any) (bool, error) {
	b, err := tx.Get(append([]byte(kind), id...))
	if err != nil || b == nil {
		return false, err
	}
	if err := protocol.Decode(b, maxDocument, doc); err != nil {
		return false, fmt.Errorf("reading %s document: %w", kind, err)
	}
	return true, nil
}

func scanDocs[T any](tx *store.Tx, kind string, fn func(id []byte, doc *T) error) error {
	return tx.Scan([]byte(kind), nil, false, func(k, v []byte) (bool, error) {
		doc := new(T)
		if err := protocol.Decode(v, maxDocument, doc); err != nil {
			return false, fmt.Errorf("reading %s document: %w", kind, err)
		}
		return true, fn(k[len(kind):], doc)
	})
}
