package corpus_test

import (
	"testing"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/corpus/corpustest"
)

// TestConformance: the embedded corpus answers as every other one; see node/corpus/postgres.
func TestConformance(t *testing.T) {
	corpustest.Run(t, func(_ testing.TB, w *corpustest.World) (func() corpus.Reader, func()) {
		return w.Embedded, func() {}
	})
}
