package protocol

// What follows makes no difference to the encoding: a fixed number of bytes is a byte string
// either way. But package cbor writes and reads arrays of bytes one by one, by reflection,
// which took half of the time of decoding an entry; through these methods it copies them.

// fill copies b, which must have the length of dst.
func fill(dst, b []byte) error {
	if len(b) != len(dst) {
		return malformed("%d bytes stand where %d are expected", len(b), len(dst))
	}
	copy(dst, b)
	return nil
}

// MarshalBinary returns the bytes of it.
func (x OrgID) MarshalBinary() ([]byte, error) { return x[:], nil }

// UnmarshalBinary takes exactly as many bytes as it has.
func (x *OrgID) UnmarshalBinary(b []byte) error { return fill(x[:], b) }

// MarshalBinary returns the bytes of it.
func (x NetworkID) MarshalBinary() ([]byte, error) { return x[:], nil }

// UnmarshalBinary takes exactly as many bytes as it has.
func (x *NetworkID) UnmarshalBinary(b []byte) error { return fill(x[:], b) }

// MarshalBinary returns the bytes of it.
func (x TopicID) MarshalBinary() ([]byte, error) { return x[:], nil }

// UnmarshalBinary takes exactly as many bytes as it has.
func (x *TopicID) UnmarshalBinary(b []byte) error { return fill(x[:], b) }

// MarshalBinary returns the bytes of it.
func (x FeedID) MarshalBinary() ([]byte, error) { return x[:], nil }

// UnmarshalBinary takes exactly as many bytes as it has.
func (x *FeedID) UnmarshalBinary(b []byte) error { return fill(x[:], b) }

// MarshalBinary returns the bytes of it.
func (x MandateID) MarshalBinary() ([]byte, error) { return x[:], nil }

// UnmarshalBinary takes exactly as many bytes as it has.
func (x *MandateID) UnmarshalBinary(b []byte) error { return fill(x[:], b) }

// MarshalBinary returns the bytes of it.
func (x AgreementID) MarshalBinary() ([]byte, error) { return x[:], nil }

// UnmarshalBinary takes exactly as many bytes as it has.
func (x *AgreementID) UnmarshalBinary(b []byte) error { return fill(x[:], b) }

// MarshalBinary returns the bytes of it.
func (x RecordID) MarshalBinary() ([]byte, error) { return x[:], nil }

// UnmarshalBinary takes exactly as many bytes as it has.
func (x *RecordID) UnmarshalBinary(b []byte) error { return fill(x[:], b) }

// MarshalBinary returns the bytes of it.
func (x Hash) MarshalBinary() ([]byte, error) { return x[:], nil }

// UnmarshalBinary takes exactly as many bytes as it has.
func (x *Hash) UnmarshalBinary(b []byte) error { return fill(x[:], b) }

// MarshalBinary returns the bytes of it.
func (x NodeID) MarshalBinary() ([]byte, error) { return x[:], nil }

// UnmarshalBinary takes exactly as many bytes as it has.
func (x *NodeID) UnmarshalBinary(b []byte) error { return fill(x[:], b) }

// MarshalBinary returns the bytes of it.
func (x RootKey) MarshalBinary() ([]byte, error) { return x[:], nil }

// UnmarshalBinary takes exactly as many bytes as it has.
func (x *RootKey) UnmarshalBinary(b []byte) error { return fill(x[:], b) }

// MarshalBinary returns the bytes of it.
func (x OpKey) MarshalBinary() ([]byte, error) { return x[:], nil }

// UnmarshalBinary takes exactly as many bytes as it has.
func (x *OpKey) UnmarshalBinary(b []byte) error { return fill(x[:], b) }

// MarshalBinary returns the bytes of it.
func (x SigningKey) MarshalBinary() ([]byte, error) { return x[:], nil }

// UnmarshalBinary takes exactly as many bytes as it has.
func (x *SigningKey) UnmarshalBinary(b []byte) error { return fill(x[:], b) }

// MarshalBinary returns the bytes of it.
func (x Signature) MarshalBinary() ([]byte, error) { return x[:], nil }

// UnmarshalBinary takes exactly as many bytes as it has.
func (x *Signature) UnmarshalBinary(b []byte) error { return fill(x[:], b) }
