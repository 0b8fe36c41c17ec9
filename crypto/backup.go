package crypto

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"filippo.io/age"

	"github.com/entente-mesh/entente/protocol"
)

// A backup is sealed to keys that are kept off line, by whoever keeps them: age recipients,
// post-quantum or not. Nodes' own keys are post-quantum always; those of people may be older.

// BackupRecipient is a recipient of backups as it was given.
type BackupRecipient struct {
	Text        string // as age writes it
	PostQuantum bool   // "age1pq1..."
	r           age.Recipient
}

// ParseBackupRecipient reads an age recipient: "age1pq1..." or "age1...". The error is of class
// ErrMalformed.
func ParseBackupRecipient(text string) (BackupRecipient, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "age1pq1") {
		r, err := age.ParseHybridRecipient(text)
		if err != nil {
			return BackupRecipient{}, protocol.Errorf(protocol.ErrMalformed, "reading age recipient: %v", err)
		}
		return BackupRecipient{Text: r.String(), PostQuantum: true, r: r}, nil
	}
	if strings.HasPrefix(strings.ToUpper(text), "AGE-SECRET-KEY-") {
		return BackupRecipient{}, protocol.Errorf(protocol.ErrMalformed, "this is a secret key, not a recipient: keep it off this machine, and give the line of its file that begins with '# public key:'")
	}
	r, err := age.ParseX25519Recipient(text)
	if err != nil {
		return BackupRecipient{}, protocol.Errorf(protocol.ErrMalformed, "%q is not an age recipient; one begins with age1pq1 or age1 (other kinds, plugins and SSH keys, are not for backups)", text)
	}
	return BackupRecipient{Text: r.String(), r: r}, nil
}

// SealBackup seals a stream to 1 to protocol.MaxBackupRecipients recipients, each counted once;
// all of them post-quantum or none, for the weakest says who can read. What is written goes on
// to w in chunks of 64 KiB; Close ends the file, and leaves w open. A file that was not closed
// opens up to its last whole chunk, and its reader is told that it breaks off.
func SealBackup(w io.Writer, recipients []BackupRecipient) (io.WriteCloser, error) {
	recipients = slices.CompactFunc(slices.SortedFunc(slices.Values(recipients), func(a, b BackupRecipient) int { return strings.Compare(a.Text, b.Text) }),
		func(a, b BackupRecipient) bool { return a.Text == b.Text })
	if len(recipients) == 0 || len(recipients) > protocol.MaxBackupRecipients {
		return nil, protocol.Errorf(protocol.ErrOversize, "a backup is sealed to 1 to %d recipients, not %d", protocol.MaxBackupRecipients, len(recipients))
	}
	var to []age.Recipient
	for _, r := range recipients {
		if r.PostQuantum != recipients[0].PostQuantum {
			return nil, protocol.Errorf(protocol.ErrMalformed, "recipients are post-quantum (age1pq1...) all or none: one of the other kind would make the rest pointless; make two backups, or a new key with 'entente backup keygen'")
		}
		to = append(to, r.r)
	}
	out, err := age.Encrypt(w, to...)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return out, nil
}

// BackupIdentity is a secret key that opens backups. It does not print.
type BackupIdentity struct {
	id        age.Identity
	recipient string
}

// GenerateBackupIdentity makes a post-quantum one, and returns it as the text of a file to be
// kept off line, with its recipient.
func GenerateBackupIdentity() (file, recipient string, err error) {
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		return "", "", fmt.Errorf("generating age identity: %w", err)
	}
	recipient = id.Recipient().String()
	return fmt.Sprintf("# Opens backups of Entente. Keep it off line, and never on the node's own machine alone.\n# public key: %s\n%s\n", recipient, id), recipient, nil
}

// maxIdentities bounds the keys that a file of identities may hold: each is tried.
const maxIdentities = 64

// ParseBackupIdentities reads a file of identities, as age-keygen writes it. Errors never hold
// what was read.
func ParseBackupIdentities(r io.Reader) ([]BackupIdentity, error) {
	var out []BackupIdentity
	lines := bufio.NewScanner(io.LimitReader(r, 1<<20))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case strings.HasPrefix(line, "age-encryption.org/") || strings.HasPrefix(line, "-----BEGIN AGE"):
			return nil, errors.New("the identity is itself encrypted; decrypt it first, as with 'age -d', onto a file system in memory")
		case strings.HasPrefix(line, "AGE-SECRET-KEY-PQ-1"):
			id, err := age.ParseHybridIdentity(line)
			if err != nil {
				return nil, fmt.Errorf("line %d is not an age identity, or was damaged", n)
			}
			out = append(out, BackupIdentity{id, id.Recipient().String()})
		case strings.HasPrefix(line, "AGE-SECRET-KEY-1"):
			id, err := age.ParseX25519Identity(line)
			if err != nil {
				return nil, fmt.Errorf("line %d is not an age identity, or was damaged", n)
			}
			out = append(out, BackupIdentity{id, id.Recipient().String()})
		default:
			return nil, fmt.Errorf("line %d is not an age identity; one begins with AGE-SECRET-KEY-", n)
		}
		if len(out) > maxIdentities {
			return nil, fmt.Errorf("more than %d identities in one file", maxIdentities)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, errors.New("reading identities failed; it is not a file that age-keygen or 'entente backup keygen' wrote")
	}
	if len(out) == 0 {
		return nil, errors.New("the file holds no identity; one begins with AGE-SECRET-KEY-")
	}
	return out, nil
}

// Recipient returns the public half.
func (i BackupIdentity) Recipient() string { return i.recipient }

// String never shows the secret.
func (BackupIdentity) String() string { return redacted }

// GoString never shows the secret.
func (BackupIdentity) GoString() string { return redacted }

// Format never shows the secret, whatever the verb.
func (BackupIdentity) Format(f fmt.State, _ rune) { f.Write([]byte(redacted)) }

// MarshalText never shows the secret.
func (BackupIdentity) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue never shows the secret.
func (BackupIdentity) LogValue() slog.Value { return slog.StringValue(redacted) }

// OpenBackup opens what SealBackup made, and tells whether its recipients are post-quantum. The reader returns only what is authentic, and io.EOF
// only at the file's own end; errors, here and of the reader, are of class ErrNotInAudience if
// none of ids opens the file, of class ErrMalformed if it is no such file or breaks off or was
// damaged, and otherwise what r failed with.
func OpenBackup(r io.Reader, ids []BackupIdentity) (plain io.Reader, postQuantum bool, err error) {
	src := &source{r: r}
	stanzas := &backupStanzas{ids: ids}
	in, err := age.Decrypt(src, stanzas)
	if err != nil {
		return nil, false, src.explain("opening", err)
	}
	return &fileReader{plain: in, src: src}, stanzas.postQuantum, nil
}

// backupStanzas refuses files of more recipients than a backup has, and of other kinds, before
// any stanza is tried.
type backupStanzas struct {
	ids         []BackupIdentity
	postQuantum bool
}

// Unwrap implements age.Identity.
func (b *backupStanzas) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) > protocol.MaxBackupRecipients {
		return nil, protocol.Errorf(protocol.ErrMalformed, "file is sealed to %d recipients, at most %d are tried", len(stanzas), protocol.MaxBackupRecipients)
	}
	b.postQuantum = true
	for _, s := range stanzas {
		b.postQuantum = b.postQuantum && s.Type == hybridStanza
		if s.Type != hybridStanza && s.Type != "X25519" {
			return nil, protocol.Errorf(protocol.ErrMalformed, "file is not sealed to the kinds of recipients that backups are sealed to")
		}
	}
	for _, id := range b.ids {
		key, err := id.id.Unwrap(stanzas)
		if !errors.Is(err, age.ErrIncorrectIdentity) {
			return key, err
		}
	}
	return nil, age.ErrIncorrectIdentity
}

// KeyFileRecipient returns the public half of a key file's key: nothing that has to survive the
// machine may be sealed to it.
func KeyFileRecipient(contents []byte) (string, error) {
	lock, err := KeyFileLock(contents)
	if err != nil {
		return "", err
	}
	k, ok := lock.(keyFileLock)
	if !ok {
		return "", errors.New("not a key file")
	}
	return k.id.Recipient(), nil
}

// SignBackup signs the sum of a backup with the key of the node that is backed up.
func SignBackup(network protocol.NetworkID, sum protocol.Hash, key SigningPrivate) protocol.Signature {
	return key.sign(protocol.ContextBackup, network, sum[:])
}

// VerifyBackup verifies the signature of a backup. Whose key that is, is for the caller to find
// out.
func VerifyBackup(network protocol.NetworkID, sum protocol.Hash, key protocol.SigningKey, sig protocol.Signature) error {
	return Verify(key, protocol.ContextBackup, network, sum[:], sig)
}
