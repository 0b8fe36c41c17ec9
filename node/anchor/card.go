package anchor

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/protocol"
)

const cardFile = "card"

// SetCard keeps a card of the organisation that was signed here, durably, before the store does: a
// store that goes back in time must neither sign another card of the same order, nor one that
// forgets which nodes were removed since.
func (a *Anchor) SetCard(card *protocol.SignedCard) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := disk.Replace(a.fs, filepath.Join(a.dir, cardFile), protocol.Encode(card)); err != nil {
		return fmt.Errorf("writing the card beside the data directory: %w", err)
	}
	return nil
}

// Card returns the card that was kept last, not verified; nil if there is none, or none that can be
// read.
func (a *Anchor) Card() (*protocol.SignedCard, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, err := a.fs.ReadFile(filepath.Join(a.dir, cardFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the card beside the data directory: %w", err)
	}
	card := new(protocol.SignedCard)
	if protocol.Decode(b, 2*protocol.MaxCardSize, card) != nil {
		return nil, nil
	}
	return card, nil
}
