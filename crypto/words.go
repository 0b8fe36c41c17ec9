package crypto

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"

	"github.com/tyler-smith/go-bip39"

	"github.com/entente-mesh/entente/protocol"
)

// Words returns the fingerprint of an organisation to read out over the phone: the first 16
// bytes of SHA-256("entente/words/v1" || 0x00 || OrgID) as twelve words of the English list
// of BIP-39, the last of which holds a checksum.
func Words(id protocol.OrgID) []string {
	sum := sha256.Sum256(append([]byte("entente/words/v1\x00"), id[:]...))
	m, err := bip39.NewMnemonic(sum[:16])
	if err != nil {
		panic(err) // only for an entropy of another length: a programmer's error
	}
	return strings.Fields(m)
}

// MatchWords reports whether somebody said the words of id; case and what stands between
// the words do not matter.
func MatchWords(id protocol.OrgID, said string) bool {
	words := strings.FieldsFunc(strings.ToLower(said), func(r rune) bool { return r < 'a' || r > 'z' })
	return strings.Join(words, " ") == strings.Join(Words(id), " ")
}

// TopicName returns the name of a topic on the wire in one period: "/entente/t/1/" and
// base32 of HMAC-SHA256(secret, "entente/topic-name/v1" || 0x00 || period as 4 bytes ||
// topic)[:20]. Only members of the network, who hold the secret, can tell what it is about.
func TopicName(secret [32]byte, topic protocol.TopicID, period uint32) string {
	m := hmac.New(sha256.New, secret[:])
	m.Write([]byte("entente/topic-name/v1\x00"))
	m.Write(binary.BigEndian.AppendUint32(nil, period))
	m.Write(topic[:])
	return "/entente/t/1/" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(m.Sum(nil)[:20]))
}
