package node

import (
	"errors"
	"fmt"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// What was refused is accounted for as what was done: requests of the organisation's own people and
// machines that local rules do not allow, and letters of partners that are not what they claim.

// hiddenError is ErrNotFound of records that are held, and that somebody may not read: it reads as if
// they were not there.
type hiddenError struct {
	text    string
	records []protocol.RecordID
	why     string
}

func (e *hiddenError) Error() string { return e.text }
func (e *hiddenError) Unwrap() error { return ErrNotFound }

// Forbidden reports whether an error is that local rules do not allow something, also where the
// asker is not told so.
func Forbidden(err error) bool {
	var hidden *hiddenError
	return errors.Is(err, ErrForbidden) || errors.As(err, &hidden)
}

// NoteRefused notes that a request of a caller was refused by local rules. Of one person at most
// audit.MaxForeign are noted in a day, and of more every power of two. That it cannot be noted does
// not make it allowed; the log of the program says so.
func (n *Node) NoteRefused(c Caller, request string, why error) {
	d := n.details("refuse request", c)
	d.Text, d.Reason = audit.Clip(request, audit.MaxText/2), audit.Clip(why.Error(), audit.MaxText)
	var hidden *hiddenError
	if errors.As(why, &hidden) {
		d.Act, d.Reason = "hide record", audit.Clip(hidden.why, audit.MaxText)
		d.Records = audit.NewRecordSet(hidden.records, true)
	}
	if err := n.st.Update(func(tx *store.Tx) error { return n.account.AppendRefused(tx, audit.Refuse, d) }); err != nil && !errors.Is(err, store.ErrClosed) {
		n.log.Error("noting in the audit log that a request was refused", "err", err)
	}
}

// noteRefusedLetter notes that a letter of a partner was set aside.
func (n *Node) noteRefusedLetter(sender protocol.OrgID, h *protocol.Header, why error) {
	d := n.details("refuse letter", Caller{})
	d.By, d.Topic, d.Reason, d.Text = sender, protocol.ControlTopic, protocol.Class(why), audit.Clip(why.Error(), audit.MaxText)
	d.Records.Places = []audit.Place{{Feed: h.Feed, From: h.Seq, To: h.Seq}}
	if err := n.st.Update(func(tx *store.Tx) error { return n.account.AppendForeign(tx, audit.Refuse, d) }); err != nil && !errors.Is(err, store.ErrClosed) {
		n.log.Error("noting in the audit log that a letter was refused", "err", err)
	}
}

// auditRules notes that a set of rules was put in force. What it says stays in the store; here is its
// hash, by which sets are told apart.
func (n *Node) auditRules(tx *store.Tx, c Caller, act string, doc *rulesDoc, rules int) error {
	d := n.details(act, c)
	d.Text = audit.Clip(fmt.Sprintf("%d rules of %s, set %s", rules, doc.File, doc.hash()), audit.MaxText)
	_, err := n.account.Append(tx, audit.Rules, d)
	return err
}

// noteRefusedRules notes that a set of rules was refused, and where it is wrong.
func (n *Node) noteRefusedRules(c Caller, doc *rulesDoc, why error) {
	d := n.details("refuse rules", c)
	d.Text, d.Reason = audit.Clip(fmt.Sprintf("%s, set %s", doc.File, doc.hash()), audit.MaxText), audit.Clip(why.Error(), audit.MaxText)
	if err := n.st.Update(func(tx *store.Tx) error { return n.account.AppendRefused(tx, audit.Rules, d) }); err != nil && !errors.Is(err, store.ErrClosed) {
		n.log.Error("noting in the audit log that rules were refused", "err", err)
	}
}

// actingNow is acting for what only a request does: it is done if whoever asks may do it at the moment of the act.
func (n *Node) actingNow() Caller {
	if c := n.actor.Load(); c != nil {
		return *c
	}
	return Caller{}
}

// acting returns on whose behalf something is done that has no context of its own. What the node does by itself
// meanwhile is noted so, too, and does not depend on whether they stay.
func (n *Node) acting() Caller {
	c := n.actingNow()
	c.Right = ""
	return c
}
