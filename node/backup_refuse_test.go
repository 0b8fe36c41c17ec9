package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// backedUp is a node with something of everything in it, and its backup.
func backedUp(t testing.TB) (*Node, offline, []byte) {
	t.Helper()
	nodes := testNetwork(t, "Author", "Reader", "Other")
	agree(t, nodes[0], nodes[1], protocol.TLPGreen, "*")
	agree(t, nodes[2], nodes[1], protocol.TLPGreen, "*")
	publishList(t, nodes[0], "198.51.100.1\n198.51.100.2\n198.51.100.3\n", green)
	publishList(t, nodes[2], "198.51.100.4\n", green)
	publishList(t, nodes[1], "198.51.100.5\n", green)
	syncBoth(t, nodes...)
	eraseValue(t, nodes[0], "198.51.100.1")
	if err := nodes[0].Withdraw(context.Background(), []protocol.RecordID{recordOf(t, nodes[0], "198.51.100.2")}, "wrong"); err != nil {
		t.Fatal(err)
	}
	syncBoth(t, nodes...)
	key := newOffline(t)
	return nodes[1], key, backupOf(t, nodes[1], key)
}

// plainOf unseals a backup.
func plainOf(t testing.TB, data []byte, key offline) []byte {
	t.Helper()
	r, _, err := crypto.OpenBackup(bytes.NewReader(data), key.ids)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func sealPlain(t testing.TB, plain []byte, key offline) []byte {
	t.Helper()
	r, err := crypto.ParseBackupRecipient(key.recipient)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := crypto.SealBackup(&b, []crypto.BackupRecipient{r})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// structures decodes the frames of a backup, and returns where each of them ends.
func structures(t testing.TB, plain []byte) (list []any, ends []int) {
	t.Helper()
	var dec protocol.BackupDecoder
	for at := 0; at < len(plain); {
		kind, size, err := protocol.ParseBackupHead([protocol.BackupFrameHead]byte(plain[at:]))
		if err != nil {
			t.Fatal(err)
		}
		at += protocol.BackupFrameHead
		v, err := dec.Next(kind, plain[at:at+size])
		if err != nil {
			t.Fatal(err)
		}
		if m, ok := v.(*protocol.BackupManifest); ok {
			c := *m // the decoder's own
			v = &c
		}
		at += size
		list, ends = append(list, v), append(ends, at)
	}
	if !dec.Whole() {
		t.Fatal("the backup is not whole")
	}
	return list, ends
}

// rewrite makes the frames of structures anew, signed by the node: what somebody could write who
// has the node's key.
func rewrite(t testing.TB, n *Node, list []any) []byte {
	t.Helper()
	var enc protocol.BackupEncoder
	var out []byte
	for _, v := range list {
		if _, end := v.(*protocol.BackupTrailer); !end {
			out = append(out, enc.Frame(v)...)
		}
	}
	return append(out, enc.Trailer(func(sum protocol.Hash) protocol.Signature {
		return crypto.SignBackup(n.snap.Load().network, sum, n.keys.Signing)
	})...)
}

func verifyPlain(t testing.TB, plain []byte, key offline) (*BackupInfo, error) {
	t.Helper()
	return VerifyBackup(context.Background(), bytes.NewReader(sealPlain(t, plain, key)), key.ids)
}

// A backup that breaks off is not whole, wherever it does: inside a frame or between two. Nothing
// is restored of it that a node starts from.
func TestTruncatedBackupIsRefused(t *testing.T) {
	t.Parallel()
	_, key, data := backedUp(t)
	plain := plainOf(t, data, key)
	_, ends := structures(t, plain)
	dir := filepath.Join(t.TempDir(), "d")
	for i, end := range append([]int{0, 3}, ends[:len(ends)-1]...) {
		for _, cut := range []int{end, min(end+7, len(plain)-1)} {
			info, err := verifyPlain(t, plain[:cut], key)
			if err == nil || info.Whole || info.Problem == "" || !errors.Is(err, protocol.ErrMalformed) {
				t.Fatalf("cut off at byte %d of %d: %+v, %v", cut, len(plain), info, err)
			}
			if i%8 != 2 {
				continue
			}
			out, err := Restore(context.Background(), bytes.NewReader(sealPlain(t, plain[:cut], key)), RestoreRequest{Dir: dir, Identities: key.ids})
			if err == nil || out.Whole {
				t.Fatalf("restored what was cut off at byte %d", cut)
			}
			if _, err := Open(Config{Dir: dir, Keys: &Keys{}}); !errors.Is(err, ErrUnfinishedRestore) {
				t.Fatalf("opening what was restored in part: %v", err)
			}
			if _, err := Init(InitRequest{Dir: dir, RootFile: filepath.Join(t.TempDir(), "root"), Name: "Other", Kind: protocol.KindCERT}); !errors.Is(err, ErrUnfinishedRestore) {
				t.Fatalf("founding an organisation in what was restored in part: %v", err)
			}
		}
	}
	// What did not finish is run again in the same place; what is of somebody else is not touched.
	if err := os.WriteFile(filepath.Join(dir, "notes"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(context.Background(), bytes.NewReader(data), RestoreRequest{Dir: dir, Identities: key.ids}); err == nil || !strings.Contains(err.Error(), `is not empty: it holds "notes"`) {
		t.Fatalf("restoring beside somebody's file: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "notes")); err != nil {
		t.Fatal(err)
	}
	n, out := restoreInto(t, dir, data, key)
	if !out.Whole || n.OwnCard().Node(n.ID()) == nil {
		t.Errorf("the restore that was run again: %+v", out)
	}
}

// A byte that was changed, sealed as it is or inside, is noticed.
func TestChangedBackupIsRefused(t *testing.T) {
	t.Parallel()
	n, key, data := backedUp(t)
	for at := 0; at < len(data); at += 1 + len(data)/97 {
		bad := slices.Clone(data)
		bad[at] ^= 0x10
		if info, err := VerifyBackup(context.Background(), bytes.NewReader(bad), key.ids); err == nil || info.Whole {
			t.Fatalf("byte %d of the file was changed, and nobody noticed", at)
		}
	}
	plain := plainOf(t, data, key)
	for at := 0; at < len(plain); at += 1 + len(plain)/397 {
		bad := slices.Clone(plain)
		bad[at] ^= 0x01
		if info, err := verifyPlain(t, bad, key); err == nil || info.Whole {
			t.Fatalf("byte %d inside was changed, and nobody noticed", at)
		}
	}
	if _, err := verifyPlain(t, append(slices.Clone(plain), 1), key); err == nil || !strings.Contains(err.Error(), "goes on after its end") {
		t.Errorf("a byte after the end: %v", err)
	}
	other := newOffline(t)
	if _, err := VerifyBackup(context.Background(), bytes.NewReader(data), other.ids); !errors.Is(err, protocol.ErrNotInAudience) {
		t.Errorf("another identity: %v", err)
	}
	if _, err := VerifyBackup(context.Background(), strings.NewReader("no backup"), key.ids); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("no backup: %v", err)
	}
	// Written anew by who does not have the node's key.
	list, _ := structures(t, plain)
	stranger := testNode(t, "Stranger")
	stranger.snap.Store(n.snap.Load())
	if _, err := verifyPlain(t, rewrite(t, stranger, list), key); !errors.Is(err, protocol.ErrBadSignature) || !strings.Contains(err.Error(), "not signed by the node") {
		t.Errorf("signed by another node: %v", err)
	}
	if _, err := verifyPlain(t, rewrite(t, n, list), key); err != nil {
		t.Errorf("written anew, without a change: %v", err)
	}
}

func find[T any](t testing.TB, list []any, ok func(T) bool) (int, T) {
	t.Helper()
	for i, v := range list {
		if x, is := v.(T); is && (ok == nil || ok(x)) {
			return i, x
		}
	}
	t.Fatalf("no such structure in the backup")
	panic("unreachable")
}

// What a backup says is held against the signatures in it, even where the node itself wrote it.
func TestBackupRefusals(t *testing.T) {
	t.Parallel()
	n, key, data := backedUp(t)
	plain := plainOf(t, data, key)
	withBlocks := func(e *protocol.BackupEntry) bool { return len(e.Blocks) > 0 && len(e.Tomb) == 0 }
	document := func(kind string) func(d *protocol.BackupDocuments) bool {
		return func(d *protocol.BackupDocuments) bool {
			return slices.ContainsFunc(d.List, func(d protocol.BackupDocument) bool { return d.Kind == kind })
		}
	}
	at := func(d *protocol.BackupDocuments, kind string) *protocol.BackupDocument {
		i := slices.IndexFunc(d.List, func(d protocol.BackupDocument) bool { return d.Kind == kind })
		return &d.List[i]
	}
	// The first name of a kind, made one less, is another and still comes first, whatever it was.
	lower := func(id []byte) {
		for i := len(id) - 1; i >= 0; i-- {
			id[i]--
			if id[i] != 0xff {
				return
			}
		}
	}
	dropDocuments := func(list []any, drop func(d *protocol.BackupDocument) bool) {
		_, m := find[*protocol.BackupManifest](t, list, nil)
		for _, v := range list {
			if d, ok := v.(*protocol.BackupDocuments); ok {
				before := len(d.List)
				d.List = slices.DeleteFunc(d.List, func(d protocol.BackupDocument) bool { return drop(&d) })
				m.Documents -= uint64(before - len(d.List))
			}
		}
	}
	for _, tc := range []struct {
		name   string
		change func(list []any) []any
		want   string
	}{
		{"a version to come", func(l []any) []any { l[0].(*protocol.BackupManifest).Version = 2; return l }, "version 2, this program reads 1: bring this node up to date"},
		{"another organisation's", func(l []any) []any { l[0].(*protocol.BackupManifest).Org[0]++; return l }, "does not hold the card of its own organisation"},
		{"another node's", func(l []any) []any { l[0].(*protocol.BackupManifest).Signing[0]++; return l }, "does not list"},
		{"a key announced", func(l []any) []any { i, _ := find[*protocol.BackupKey](t, l, nil); return slices.Delete(l, i, i+1) }, "announces an operational key"},
		{"a key not announced", func(l []any) []any { l[0].(*protocol.BackupManifest).Key = false; return l }, "does not announce"},
		{"another key", func(l []any) []any { _, k := find[*protocol.BackupKey](t, l, nil); k.Op[0]++; return l }, "not the one of its organisation's card"},
		{"two manifests", func(l []any) []any { return slices.Insert(l, 1, l[0]) }, "no place"},
		{"marks before feeds", func(l []any) []any {
			i, m := find[*protocol.BackupMarks](t, l, nil)
			return slices.Insert(slices.Delete(l, i, i+1), 1, any(m))
		}, "no place"},
		{"fewer documents", func(l []any) []any { l[0].(*protocol.BackupManifest).Documents++; return l }, "is not what its beginning and end say"},
		{"fewer entries", func(l []any) []any { l[0].(*protocol.BackupManifest).Entries++; return l }, "is not what its beginning and end say"},
		{"more feeds", func(l []any) []any { l[0].(*protocol.BackupManifest).Feeds++; return l }, "it announced"},
		{"a document of unknown kind", func(l []any) []any { _, d := find(t, l, document("topic")); at(d, "topic").Kind = "zzz"; return l }, `unknown kind "zzz"`},
		{"a setting that is the node's own", func(l []any) []any {
			_, d := find(t, l, document("setting"))
			at(d, "setting").ID = []byte("restored")
			return l
		}, `no setting "restored"`},
		{"a document twice", func(l []any) []any {
			l[0].(*protocol.BackupManifest).Documents++
			_, d := find(t, l, document("topic"))
			d.List = append(d.List, d.List[len(d.List)-1])
			return l
		}, "must rise, without duplicates"},
		{"documents out of order", func(l []any) []any { _, d := find(t, l, document("card")); slices.Reverse(d.List); return l }, "must rise"},
		{"a card that was changed", func(l []any) []any {
			_, d := find(t, l, document("card"))
			v := at(d, "card").Value
			v[len(v)-1]++
			return l
		}, "document card"},
		{"a card under another name", func(l []any) []any { _, d := find(t, l, document("card")); at(d, "card").ID[31]++; return l }, "another organisation than it is kept for"},
		{"a roster statement under another name", func(l []any) []any { _, d := find(t, l, document("roster")); lower(at(d, "roster").ID); return l }, "not the one that it is kept as"},
		{"no card of its own", func(l []any) []any {
			dropDocuments(l, func(d *protocol.BackupDocument) bool { return d.Kind == "card" && bytes.Equal(d.ID, n.org[:]) })
			return l
		}, "does not hold the card of its own organisation"},
		{"another network", func(l []any) []any { l[0].(*protocol.BackupManifest).Network[0]++; return l }, "another network"},
		{"an agreement under another name", func(l []any) []any { _, d := find(t, l, document("agreement")); lower(at(d, "agreement").ID); return l }, "another one than it is kept as"},
		{"an erase under another name", func(l []any) []any { _, d := find(t, l, document("erase")); lower(at(d, "erase").ID); return l }, "another one than it is kept as"},
		{"a topic secret under another name", func(l []any) []any { _, d := find(t, l, document("secret")); lower(at(d, "secret").ID); return l }, "not the one that it is kept as"},
		{"an entry too few", func(l []any) []any {
			i, _ := find(t, l, withBlocks)
			l[0].(*protocol.BackupManifest).Entries--
			return slices.Delete(l, i, i+1)
		}, "feed"},
		{"an entry that was changed", func(l []any) []any { _, e := find(t, l, withBlocks); e.Raw[len(e.Raw)-1]++; return l }, "body is not the one its header names"},
		{"a body left out without a word", func(l []any) []any {
			_, e := find(t, l, withBlocks)
			e.Raw = stripped(t, n, e.Raw)
			return l
		}, "lacks one that is not"},
		{"a body that is said to be erased", func(l []any) []any {
			_, e := find(t, l, withBlocks)
			e.Tomb = []protocol.BackupTomb{{Reason: protocol.EraseLegal, At: 1}}
			return l
		}, "has a body that was erased"},
		{"erased and lacking at once", func(l []any) []any {
			_, e := find(t, l, func(e *protocol.BackupEntry) bool { return len(e.Tomb) > 0 })
			e.Absent = 1
			return l
		}, "erased and absent at once"},
		{"a state to come", func(l []any) []any { _, e := find(t, l, withBlocks); e.State = uint8(store.Erased) + 1; return l }, "in no known state"},
		{"another head", func(l []any) []any { _, f := find[*protocol.BackupFeed](t, l, nil); f.Head.Hash[0]++; return l }, "not the one that comes next"},
		{"a head beyond the entries", func(l []any) []any {
			_, f := find[*protocol.BackupFeed](t, l, nil)
			_, h := find[*protocol.BackupHeads](t, l, nil)
			for i := range h.Heads {
				if h.Heads[i] == f.Head {
					h.Heads[i].Seq++
				}
			}
			f.Head.Seq++
			return l
		}, "and not at its head"},
		{"keys after entries", func(l []any) []any {
			i, ep := find(t, l, func(ep *protocol.BackupEpochs) bool { return true })
			return slices.Insert(slices.Delete(l, i, i+1), i+1, any(ep))
		}, ""},
		{"a record that was changed", func(l []any) []any { changeBlock(t, l, "198.51.100.4", "198.51.100.7"); return l }, "not what its originator signed"},
		{"a block in another place", func(l []any) []any { _, e := find(t, l, withBlocks); e.Blocks[0].Cursor = 1 << 40; return l }, "not one that was given"},
		{"a block of another entry", func(l []any) []any {
			_, a := find(t, l, withBlocks)
			_, b := find(t, l, func(e *protocol.BackupEntry) bool { return withBlocks(e) && e != a })
			a.Blocks[0].Block = b.Blocks[0].Block
			return l
		}, "kept for another entry"},
		{"a damaged block", func(l []any) []any {
			_, e := find(t, l, withBlocks)
			b := &e.Blocks[0].Block
			*b = (*b)[:len(*b)/2]
			return l
		}, "does not unpack"},
		{"an unknown mark", func(l []any) []any { _, m := find[*protocol.BackupMarks](t, l, nil); m.List[0].Key[1] = 'q'; return l }, "no known kind"},
		{"a mark twice", func(l []any) []any {
			_, m := find[*protocol.BackupMarks](t, l, nil)
			m.List = append(m.List, m.List[len(m.List)-1])
			return l
		}, "must rise, without duplicates"},
		{"more records", func(l []any) []any { l[0].(*protocol.BackupManifest).Records--; return l }, "and says that there are"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			list, _ := structures(t, plain)
			bad := rewrite(t, n, tc.change(list))
			info, err := verifyPlain(t, bad, key)
			if err == nil || info.Whole || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("verifying says %v, want %q", err, tc.want)
			}
			dir := filepath.Join(t.TempDir(), "d")
			if _, err := Restore(context.Background(), bytes.NewReader(sealPlain(t, bad, key)), RestoreRequest{Dir: dir, Identities: key.ids}); err == nil {
				t.Fatal("it was restored")
			}
			if _, err := os.Stat(filepath.Join(dir, "keys")); err == nil {
				t.Error("keys of a restore that failed are there")
			}
		})
	}
}

func stripped(t testing.TB, n *Node, raw []byte) []byte {
	t.Helper()
	env, err := crypto.VerifyEnvelope(n.snap.Load().network, raw)
	if err != nil {
		t.Fatal(err)
	}
	return env.Stripped().Raw
}

// changeBlock makes a record say something else, in the block that shows it.
func changeBlock(t testing.TB, list []any, from, to string) {
	t.Helper()
	for _, v := range list {
		e, ok := v.(*protocol.BackupEntry)
		if !ok {
			continue
		}
		for i := range e.Blocks {
			if block, ok := forgeBlock(t, e.Blocks[i].Block, from, to); ok {
				e.Blocks[i].Block = block
				return
			}
		}
	}
	t.Fatal("the record is in no block")
}

func forgeBlock(t testing.TB, block []byte, from, to string) ([]byte, bool) {
	t.Helper()
	plain, err := s2.Decode(nil, block[9:])
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(plain, []byte(from)) {
		return nil, false
	}
	return append(block[:9:9], s2.Encode(nil, bytes.ReplaceAll(plain, []byte(from), []byte(to)))...), true
}

func TestBackupRecipients(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	if _, err := Init(InitRequest{Dir: dir, RootFile: filepath.Join(t.TempDir(), "root"), Name: "Author", Kind: protocol.KindVendor}); err != nil {
		t.Fatal(err)
	}
	n := openDir(t, dir, false)
	sibling := secondNode(t, n)
	lock, err := os.ReadFile(filepath.Join(dir, keyDir, lockFile))
	if err != nil {
		t.Fatal(err)
	}
	onDisk, err := crypto.KeyFileRecipient(lock)
	if err != nil {
		t.Fatal(err)
	}
	key := newOffline(t)
	const classic = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p" // of age's README
	many := make([]string, protocol.MaxBackupRecipients+1)
	for i := range many {
		many[i] = newOffline(t).recipient
	}
	for _, tc := range []struct {
		name string
		to   []string
		want string
	}{
		{"none", nil, "needs at least one recipient"},
		{"this node", []string{key.recipient, n.keys.Identities[0].Recipient()}, "lives on this node only"},
		{"a sibling", []string{sibling.keys.Identities[0].Recipient()}, "is a node of this organisation"},
		{"the key file", []string{onDisk}, "the key file in this node's data directory"},
		{"a secret key", []string{"AGE-SECRET-KEY-PQ-1QQQ"}, "this is a secret key"},
		{"an SSH key", []string{"ssh-ed25519 AAAA"}, "not an age recipient"},
		{"a damaged one", []string{key.recipient[:100]}, "reading age recipient"},
		{"both kinds", []string{key.recipient, classic}, "post-quantum (age1pq1...) all or none"},
		{"too many", many, "1 to 16 recipients"},
	} {
		var out bytes.Buffer
		if _, err := n.Backup(context.Background(), &out, BackupRequest{Recipients: tc.to}); err == nil || !strings.Contains(err.Error(), tc.want) || out.Len() > 0 {
			t.Errorf("%s: %v, want %q; %d bytes were written", tc.name, err, tc.want, out.Len())
		}
	}
	for _, to := range [][]string{{classic}, {key.recipient}, {key.recipient, newOffline(t).recipient, key.recipient}} {
		info, err := n.Backup(context.Background(), io.Discard, BackupRequest{Recipients: to})
		if err != nil || info.PostQuantum != (to[0] != classic) {
			t.Errorf("sealed to %d: %+v, %v", len(to), info, err)
		}
	}
}
