package crypto

import (
	"errors"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

// TestRulesOffer: only the operational key in force signs rules for all nodes, one deviation a row.
func TestRulesOffer(t *testing.T) {
	op, retired := GenerateOp(), GenerateOp()
	card := &Card{Org: protocol.OrgID{1}}
	card.RootEpoch.Op = op.Public()
	sign := func(o protocol.RulesOffer, key OpPrivate) protocol.OrgSigned {
		s, err := SignRules(&o, key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := protocol.RulesOffer{Version: 1, Org: card.Org, Number: 7, Text: []byte("x")}
	if o, err := VerifyRules(ptr(sign(good, op)), card); err != nil || o.Number != 7 {
		t.Fatal(o, err)
	}
	other, altered, renamed := good, sign(good, op), sign(good, op)
	other.Org = protocol.OrgID{2}
	moved := sign(other, op)
	moved.Org = card.Org
	altered.Statement[len(altered.Statement)-1] ^= 1
	renamed.Org = protocol.OrgID{2}
	elsewhere := sign(good, op)
	elsewhere.Sig, _ = op.Sign(protocol.ContextTermination, protocol.NoNetwork, elsewhere.Statement)
	for name, tt := range map[string]struct {
		s    protocol.OrgSigned
		want error
	}{
		"a key that is not in force":      {sign(good, retired), protocol.ErrBadSignature},
		"altered":                         {altered, protocol.ErrBadSignature},
		"of another organisation":         {renamed, protocol.ErrBadSignature},
		"that names another organisation": {moved, protocol.ErrWrongContext},
		"signed for something else":       {elsewhere, protocol.ErrBadSignature},
	} {
		if _, err := VerifyRules(&tt.s, card); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	big := good
	big.Text = make([]byte, protocol.MaxRulesOffer+1)
	if _, err := SignRules(&big, op); !errors.Is(err, protocol.ErrOversize) {
		t.Errorf("too large: %v", err)
	}
	none := good
	none.Number = 0
	if _, err := SignRules(&none, op); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("without a number: %v", err)
	}
}

func ptr[T any](v T) *T { return &v }
