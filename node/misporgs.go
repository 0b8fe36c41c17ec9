package node

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// MISPSettings are what a person says of MISP: which members of the mesh its organisations are, for
// sharing groups, and under which label what an instance pushes without one is published.
type MISPSettings struct {
	Orgs []MISPOrg    `json:"orgs"`
	TLP  protocol.TLP `json:"tlp,omitempty"` // of what is pushed and states none; unset: it is refused
}

// MISPOrg is an organisation of MISP that is a member of the mesh.
type MISPOrg struct {
	UUID string `json:"uuid"`
	Org  OrgRef `json:"org"`
}

// mispDoc is one of them; that without a UUID holds the label.
type mispDoc struct {
	_    struct{} `cbor:",toarray"`
	UUID string
	Org  protocol.OrgID
	TLP  protocol.TLP
}

const maxMISPOrgs = 10000

func checkMISP(id, value []byte) error {
	var d mispDoc
	if err := protocol.Decode(value, maxDocument, &d); err != nil {
		return err
	}
	if string(id) != d.UUID {
		return protocol.Errorf(protocol.ErrWrongContext, "a setting of MISP is another one than it is kept as")
	}
	return d.validate()
}

func (d *mispDoc) validate() error {
	if d.UUID == "" && d.TLP <= protocol.TLPRed && d.Org == (protocol.OrgID{}) {
		return nil
	}
	if u, err := uuid.Parse(d.UUID); err != nil || u.String() != d.UUID || d.TLP != protocol.TLPUnset {
		return protocol.Errorf(protocol.ErrMalformed, "%q is no UUID of an organisation; MISP shows it among those of the instance", d.UUID)
	}
	return nil
}

// MISP returns the settings.
func (n *Node) MISP() (MISPSettings, error) {
	out := MISPSettings{Orgs: []MISPOrg{}}
	s := n.snap.Load()
	err := n.st.View(func(tx *store.Tx) error {
		out = MISPSettings{Orgs: []MISPOrg{}}
		return scanDocs(tx, kindMisp, func(_ []byte, d *mispDoc) error {
			if d.UUID == "" {
				out.TLP = d.TLP
			} else {
				out.Orgs = append(out.Orgs, MISPOrg{d.UUID, s.ref(d.Org)})
			}
			return nil
		})
	})
	return out, err
}

// MISPOrg returns which member of the mesh an organisation of MISP is.
func (n *Node) MISPOrg(id string) (org protocol.OrgID, ok bool) {
	var d mispDoc
	err := n.st.View(func(tx *store.Tx) (err error) {
		ok, err = getDoc(tx, kindMisp, []byte(strings.ToLower(id)), &d)
		return err
	})
	return d.Org, ok && err == nil && d.UUID != ""
}

// SetMISPOrg says which member of the mesh an organisation of MISP is; the zero OrgID: none any more.
func (n *Node) SetMISPOrg(id string, org protocol.OrgID) error {
	d := mispDoc{UUID: strings.ToLower(id), Org: org}
	if d.UUID == "" {
		return protocol.Errorf(protocol.ErrMalformed, "say the UUID of the organisation in MISP")
	}
	if org == (protocol.OrgID{}) {
		return n.setMISP(&d, true, "forget MISP organisation "+d.UUID)
	}
	return n.setMISP(&d, false, "MISP organisation "+d.UUID+" is "+org.String())
}

// SetMISPTLP sets the label of what is pushed and states none; unset: it is refused.
func (n *Node) SetMISPTLP(t protocol.TLP) error {
	return n.setMISP(&mispDoc{TLP: t}, t == protocol.TLPUnset, "label of what MISP pushes: "+t.String())
}

func (n *Node) setMISP(d *mispDoc, remove bool, what string) error {
	if err := d.validate(); err != nil {
		return err
	}
	return n.st.Update(func(tx *store.Tx) error {
		count := 0
		var held []byte
		err := scanDocs(tx, kindMisp, func(id []byte, o *mispDoc) error {
			if count++; o.UUID == d.UUID {
				held = slices.Clone(protocol.Encode(o))
			}
			return nil
		})
		switch {
		case err != nil:
			return err
		case remove && held == nil && d.UUID != "":
			return fmt.Errorf("organisation %s of MISP: %w", d.UUID, ErrNotFound)
		case remove && held == nil, !remove && bytes.Equal(held, protocol.Encode(d)):
			return nil
		case remove:
			return errors.Join(tx.Delete([]byte(kindMisp+d.UUID)), n.auditAccess(tx, "set MISP", what))
		case held == nil && count >= maxMISPOrgs:
			return protocol.Errorf(protocol.ErrOversize, "%d organisations of MISP are known; remove one first", count)
		}
		return errors.Join(putDoc(tx, kindMisp, []byte(d.UUID), d), n.auditAccess(tx, "set MISP", what))
	})
}
