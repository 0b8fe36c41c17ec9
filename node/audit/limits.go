package audit

import "github.com/entente-mesh/entente/protocol"

// The bounds of a log.
const (
	// MaxLeaf bounds an encoded leaf; one has 42 bytes.
	MaxLeaf = 64
	// MaxDetails bounds the encoded details of one entry: those of a decision about 1,000
	// organisations have about 55 kB.
	MaxDetails = 512 << 10
	// MaxIDs is how many records an entry names one by one. Of more it holds the number and the
	// Merkle root, and where they stand.
	MaxIDs = 1024
	// MaxList bounds every other list in the details of an entry.
	MaxList = 8192
	// MaxText bounds what a person or another organisation wrote.
	MaxText = 4 << 10
	// MaxName bounds the name of a person and a purpose, as a caller states them.
	MaxName = 256
	// MaxForeign is how many entries a day another organisation can cause. Of more, only every
	// power of two is written, with the count: nobody fills a disk by being set aside (I6).
	MaxForeign = 512
	// MaxCheckpoints is how many checkpoints of a log are kept; of more, every second one of the
	// older half goes.
	MaxCheckpoints = 1024
	// MaxCheckpoint bounds a signed checkpoint, with cosignatures.
	MaxCheckpoint = protocol.MaxCheckpoint
	// MaxCosigners bounds the cosignatures that are kept with one checkpoint.
	MaxCosigners = 32
	// MaxExportLine bounds one line of an exported log: an entry with its details.
	MaxExportLine = 2 << 20
	// MaxExportEntries bounds the entries of an exported log that is verified: 64 bytes of memory
	// are taken by each.
	MaxExportEntries = 1 << 23
	// maxProblems is how many problems a verification lists.
	maxProblems = 20
)
