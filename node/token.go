package node

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/entente-mesh/entente/node/hsm"
)

// The operational key may be in a token that is not always there. A node whose token does not answer goes
// on as one without the key: what needs a signature says so and does nothing, and what is signed by
// itself waits until the token is back.

// tokenEvery is how often the token is asked whether it is there.
const tokenEvery = 30 * time.Second

// token returns what signs with the operational key if that is in a token, else nil.
func (n *Node) token() *hsm.Signer {
	t, _ := n.keys.Op.(*hsm.Signer)
	return t
}

// opAnswers reports whether this node can sign as the organisation now.
func (n *Node) opAnswers() bool {
	if n.op() == nil {
		return false
	}
	if t := n.token(); t != nil {
		_, err := t.Problem()
		return err == nil
	}
	return true
}

// keepToken asks the token whether it is there, and has what waited for it done once it is back.
func (net *network) keepToken(ctx context.Context) {
	t := net.n.token()
	if t == nil {
		return
	}
	tick := time.NewTicker(tokenEvery)
	defer tick.Stop()
	for {
		_, before := t.Problem()
		err := t.Check()
		switch {
		case err != nil && before == nil:
			net.n.log.Error("this node goes on without the operational key", "err", err)
		case err == nil && before != nil:
			net.n.log.Info("the token with the operational key answers again")
		}
		if (err == nil) != (before == nil) {
			net.n.changes.notify()
			net.wake()
		}
		select {
		case <-ctx.Done():
			if err := t.Close(); err != nil {
				net.n.log.Debug("ending the helper of the token", "err", err)
			}
			return
		case <-tick.C:
		}
	}
}

// RetryPIN has the PIN that a token refused be tried once more, by a node that runs too. It reports whether one
// was refused.
func RetryPIN(dir string) (bool, error) {
	return hsm.ForgetRefusal(filepath.Join(dir, keyDir, hsm.RefusalFile))
}

// TokenInfo is how the token with the operational key stands.
type TokenInfo struct {
	Module  string    `json:"module"`
	Token   string    `json:"token"`
	Label   string    `json:"label"`
	Answers bool      `json:"answers"`
	Since   time.Time `json:"since"`             // since when it answers, or does not
	Problem string    `json:"problem,omitempty"` // why it does not
}

// tokenInfo asks the token with the operational key; nil: the key is in none.
func (n *Node) tokenInfo() *TokenInfo {
	t := n.token()
	if t == nil {
		return nil
	}
	_ = t.Check() // what came of it is shown
	since, err := t.Problem()
	ref := t.Reference()
	info := &TokenInfo{Module: ref.Module, Token: ref.Token, Label: ref.Label, Answers: err == nil, Since: since.UTC()}
	if err != nil {
		info.Problem = err.Error()
	}
	return info
}

// tokenProblems tells of a token that does not answer.
func (n *Node) tokenProblems(st *Status) {
	t := n.token()
	if t == nil || n.op() == nil {
		return
	}
	since, err := t.Problem()
	switch {
	case errors.Is(err, hsm.ErrWrongPIN):
		st.problem("pin-refused", "error",
			"write the right PIN to the file, which the node notices by itself; if the token has been given this PIN meanwhile, 'entente key hsm retry'. It is tried no more before that: tokens lock",
			"since %s this node cannot sign as the organisation: %v", since.UTC().Format("2006-01-02 15:04"), err)
	case err != nil:
		st.problem("token-silent", "error",
			"plug the token in, or see to its library and its PIN; the node tries again twice a minute, and does then what waited",
			"since %s this node cannot sign as the organisation: %v", since.UTC().Format("2006-01-02 15:04"), err)
	}
}
