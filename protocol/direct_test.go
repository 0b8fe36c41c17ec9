package protocol

import "testing"

// The id of a direct topic is known for one by whoever meets it, and follows from all that it says.
func TestDirectTopicID(t *testing.T) {
	base := DirectTopic{Version: 1, Author: SigningKey{1}, Name: "c2", Roster: []OrgID{{1}, {2}}, Bounds: []Bound{{Orgs: []OrgID{{1}}, Countries: []string{"TH"}}}, Nonce: [32]byte{1}}
	if err := base.Validate(); err != nil {
		t.Fatal(err)
	}
	if NewTopicID(base.Network, base.Name).Direct() || !base.ID().Direct() {
		t.Error("a direct topic is not told from others by its id")
	}
	for name, change := range map[string]func(*DirectTopic){
		"network": func(d *DirectTopic) { d.Network[0]++ },
		"author":  func(d *DirectTopic) { d.Author[0]++ },
		"name":    func(d *DirectTopic) { d.Name = "malware" },
		"roster":  func(d *DirectTopic) { d.Roster = d.Roster[:1] },
		"bounds":  func(d *DirectTopic) { d.Bounds = []Bound{{Orgs: []OrgID{{1}}, Countries: []string{"VN"}}} },
		"nonce":   func(d *DirectTopic) { d.Nonce[0]++ },
	} {
		other := base
		if change(&other); other.ID() == base.ID() {
			t.Errorf("another %s makes no other topic", name)
		}
	}
}
