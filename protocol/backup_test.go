package protocol

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sampleBackup is a backup with one of every frame.
func sampleBackup() []any {
	network := NetworkID(sha256.Sum256([]byte("network")))
	o := Origin{Incarnation: 1}
	head := FeedHead{Feed: o.FeedID(network), Seq: 1, Hash: Hash{1}}
	return []any{
		&BackupManifest{Version: 1, Network: network, Org: OrgID{1}, Created: 5, Cursor: 1, Key: true, Feeds: 1, Entries: 1, Documents: 1},
		&BackupHeads{Heads: []FeedHead{head}},
		&BackupKey{Op: [32]byte{7}},
		&BackupDocuments{List: []BackupDocument{{Kind: "topic", ID: []byte("t"), Value: []byte("v")}}},
		&BackupFeed{Origin: o, Head: head},
		&BackupEpochs{List: []BackupEpoch{{Number: 1, Key: [32]byte{9}, Audience: []OrgID{{1}, {2}}}}},
		&BackupEntry{Raw: []byte("entry")},
		&BackupMarks{List: []BackupMark{{Key: []byte("k")}}},
	}
}

func backupFrames(list []any) (out [][]byte) {
	var e BackupEncoder
	for _, v := range list {
		out = append(out, e.Frame(v))
	}
	return append(out, e.Trailer(func(sum Hash) Signature { return Signature(append(sum[:], sum[:]...)) }))
}

// decodeBackup decodes frames until one is refused, and encodes what came again.
func decodeBackup(data []byte) (again []byte, whole bool, err error) {
	var d BackupDecoder
	var e BackupEncoder
	for len(data) > 0 {
		if len(data) < BackupFrameHead {
			return again, false, malformed("cut off")
		}
		t, size, err := ParseBackupHead([BackupFrameHead]byte(data))
		if err != nil {
			return again, false, err
		}
		data = data[BackupFrameHead:]
		if size > len(data) {
			return again, false, malformed("cut off")
		}
		v, err := d.Next(t, data[:size])
		if err != nil {
			return again, false, err
		}
		data = data[size:]
		if end, ok := v.(*BackupTrailer); ok {
			again = append(again, e.Trailer(func(Hash) Signature { return end.Sig })...)
		} else {
			again = append(again, e.Frame(v)...)
		}
	}
	return again, d.Whole(), nil
}

func TestBackupFrames(t *testing.T) {
	frames := backupFrames(sampleBackup())
	all := bytes.Join(frames, nil)
	if again, whole, err := decodeBackup(all); err != nil || !whole || !bytes.Equal(again, all) {
		t.Fatalf("a whole backup: %v, %v", whole, err)
	}
	for i := range frames {
		// Without one frame, with one twice, and cut off after it.
		var rest [][]byte
		rest = append(append(rest, frames[:i]...), frames[i+1:]...)
		if _, whole, err := decodeBackup(bytes.Join(rest, nil)); err == nil && whole {
			t.Errorf("without frame %d it is whole", i)
		}
		twice := append(append(append([][]byte{}, frames[:i+1]...), frames[i]), frames[i+1:]...)
		if _, whole, err := decodeBackup(bytes.Join(twice, nil)); err == nil && whole {
			t.Errorf("with frame %d twice it is whole", i)
		}
		if i < len(frames)-1 {
			if _, whole, err := decodeBackup(bytes.Join(frames[:i+1], nil)); err != nil || whole {
				t.Errorf("cut off after frame %d: %v, %v", i, whole, err)
			}
		}
	}
}

func TestBackupFrameRefusals(t *testing.T) {
	manifest := func(change func(m *BackupManifest)) func([]any) []any {
		return func(l []any) []any { change(l[0].(*BackupManifest)); return l }
	}
	for _, tc := range []struct {
		name   string
		change func(l []any) []any
		class  error
	}{
		{"version", manifest(func(m *BackupManifest) { m.Version = 2 }), ErrLaterVersion},
		{"too many feeds", manifest(func(m *BackupManifest) { m.Feeds = MaxBackupFeeds + 1 }), ErrOversize},
		{"records beyond the cursor", manifest(func(m *BackupManifest) { m.Records = 1 }), ErrMalformed},
		{"no cursor", manifest(func(m *BackupManifest) { m.Cursor = 0 }), ErrMalformed},
		{"feeds in no network", manifest(func(m *BackupManifest) { m.Network = NoNetwork }), ErrMalformed},
		{"fewer feeds announced", manifest(func(m *BackupManifest) { m.Feeds = 0 }), ErrMalformed},
		{"another network", manifest(func(m *BackupManifest) { m.Network[0]++ }), ErrWrongContext},
		{"an audience out of order", func(l []any) []any { l[5].(*BackupEpochs).List[0].Audience = []OrgID{{2}, {1}}; return l }, ErrMalformed},
		{"opened beyond the head", func(l []any) []any { l[4].(*BackupFeed).Opened = 2; return l }, ErrMalformed},
		{"a head without a hash", func(l []any) []any { l[4].(*BackupFeed).Head.Hash = Hash{}; return l }, ErrMalformed},
		{"an entry that is too large", func(l []any) []any { l[6].(*BackupEntry).Raw = make([]byte, MaxEnvelopeSize+1); return l }, ErrOversize},
		{"two tombs", func(l []any) []any { l[6].(*BackupEntry).Tomb = make([]BackupTomb, 2); return l }, ErrMalformed},
		{"an absence to come", func(l []any) []any { l[6].(*BackupEntry).Absent = 3; return l }, ErrMalformed},
		{"too many marks", func(l []any) []any { l[7].(*BackupMarks).List = make([]BackupMark, MaxBackupItems+1); return l }, ErrOversize},
		{"too many documents", func(l []any) []any { l[3].(*BackupDocuments).List = make([]BackupDocument, MaxBackupItems+1); return l }, ErrOversize},
	} {
		_, whole, err := decodeBackup(bytes.Join(backupFrames(tc.change(sampleBackup())), nil))
		if !errors.Is(err, tc.class) || whole {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.class)
		}
	}
	for name, head := range map[string][BackupFrameHead]byte{
		"type 0": {0, 0, 0, 0, 1}, "type 10": {10, 0, 0, 0, 1}, "a large manifest": {1, 0, 1, 0, 0}, "a large entry": {7, 0, 64, 0, 1}, "all there is": {8, 255, 255, 255, 255},
	} {
		if _, _, err := ParseBackupHead(head); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

func TestBackupSecretsDoNotPrint(t *testing.T) {
	list := sampleBackup()
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
		for _, v := range []any{list[2], *list[2].(*BackupKey), list[5].(*BackupEpochs).List[0]} {
			if got := fmt.Sprintf(verb, v); !strings.Contains(got, "(secret)") || strings.Contains(got, "7, 0") || strings.Contains(got, "0900") {
				t.Errorf("%s prints %s", verb, got)
			}
		}
	}
}

// TestBackupVector: the bytes of a backup of version 1 do not change.
func TestBackupVector(t *testing.T) {
	path := filepath.Join("testdata", "backup-v1.hex")
	got := fmt.Sprintf("%x\n", bytes.Join(backupFrames(sampleBackup()), nil))
	if os.Getenv("ENTENTE_UPDATE_VECTORS") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the frames of a backup are\n%s, and were\n%s; another layout is another version", got, want)
	}
}

func FuzzBackup(f *testing.F) {
	frames := backupFrames(sampleBackup())
	f.Add(bytes.Join(frames, nil))
	for i := range frames {
		f.Add(bytes.Join(frames[:i], nil))
		f.Add(frames[i])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		again, whole, err := decodeBackup(data)
		if err == nil && whole && !bytes.Equal(again, data) {
			t.Fatalf("another encoding of a backup was read:\n%x\n%x", data, again)
		}
		if !bytes.HasPrefix(data, again) {
			t.Fatalf("what was read up to an error encodes to something else:\n%x\n%x", data, again)
		}
	})
}
