package intake

import (
	"crypto/sha256"

	"github.com/entente-mesh/entente/protocol"
)

// AssignDemo makes up a country and a TLP for an item, so that demonstrations with lists that
// state neither have something to decide on. It is never applied unless asked for. The rule,
// which anybody can recompute:
//
// Take the SHA-256 of the item's canonical value, or of its STIX id if it has none. The first
// byte gives the country: 0 to 99 TH, 100 to 179 VN, 180 to 219 DE, 220 to 255 none (""). The
// second byte gives the label: 0 to 127 GREEN, 128 to 211 AMBER, 212 to 255 AMBER+STRICT.
// CLEAR and RED are never assigned.
func AssignDemo(item Item) (country string, tlp protocol.TLP) {
	value := item.Value
	if value == "" && item.Object != nil {
		value = item.Object.ID
	}
	sum := sha256.Sum256([]byte(value))
	switch n := sum[0]; {
	case n < 100:
		country = "TH"
	case n < 180:
		country = "VN"
	case n < 220:
		country = "DE"
	}
	switch n := sum[1]; {
	case n < 128:
		return country, protocol.TLPGreen
	case n < 212:
		return country, protocol.TLPAmber
	}
	return country, protocol.TLPAmberStrict
}
