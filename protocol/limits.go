package protocol

// Every bound of the protocol, in one place, with its reason. A decoder checks the size of
// its input before it reads it, and the counts before it allocates by them.
const (
	// MaxBodySize bounds a sealed body. Gossip amplifies writes, so bodies are small;
	// staying far below Badger's value threshold also keeps them out of its value log.
	MaxBodySize = 64 << 10
	// MaxHeaderSize bounds an encoded envelope header; a valid one has about 130 bytes.
	MaxHeaderSize = 256
	// MaxEnvelopeSize bounds an encoded envelope: body, header, signature, origin, framing.
	MaxEnvelopeSize = MaxBodySize + 1<<10
	// MaxGossipSize is pubsub's message bound: an envelope and the RPC around it.
	MaxGossipSize = 128 << 10
	// MaxControlSize bounds pubsub's control messages in one RPC.
	MaxControlSize = 64 << 10

	// MaxPlainSize bounds what a body may decompress to: the ceiling on a zip bomb.
	MaxPlainSize = 1 << 20
	// MaxObjectSize bounds the bytes of one STIX object.
	MaxObjectSize = 512 << 10
	// MaxRecordsPerBatch bounds the records signed together.
	MaxRecordsPerBatch = 4096
	// MaxBatchesPerBody and MaxHandlingsPerBody bound the tables of one body.
	MaxBatchesPerBody   = 256
	MaxHandlingsPerBody = 256
	// MaxExclusions bounds the exclusions in one envelope, MaxExcludedRecords the records of one.
	MaxExclusions      = 8
	MaxExcludedRecords = 256
	// MaxExclusionAcks bounds the acknowledgements in one letter, MaxAckTold the organisations that one
	// names: 17 kB.
	MaxExclusionAcks = 128
	MaxAckTold       = 512
	// MaxMandateTopics and MaxMandateDays bound a mandate: it stands in every batch that is published
	// under it, and whoever does not hear that it was revoked goes by its end.
	MaxMandateTopics = 16
	MaxMandateDays   = 366
	// MaxOriginProof bounds a proof of an origin: cards, statements and hops.
	MaxOriginProof = 1 << 20
	// MaxWithdrawals bounds the records withdrawn by one envelope.
	MaxWithdrawals = 1024
	// PaddingFloor is the least padded plaintext, so that a lone record looks like any other.
	PaddingFloor = 1 << 10

	// MaxSeq bounds a feed: 2^48 entries at 100,000 a second last ninety years.
	MaxSeq = 1<<48 - 1
	// MaxOpenIncarnations bounds the open feeds of one node in one topic.
	MaxOpenIncarnations = 4

	// MaxStanzas bounds the epoch stanzas of a body; an audience is a union of at most as
	// many epochs.
	MaxStanzas = 8
	// MaxGrantsPerEntry keeps a grant entry below MaxBodySize: a post-quantum age file of
	// one recipient is about 2.2 kB, and grants are filled up to a power of two.
	MaxGrantsPerEntry = 16
	// MaxGrantSize bounds one grant's age file.
	MaxGrantSize = 4 << 10
	// MaxEpochEnvelopes and MaxEpochAge turn an epoch over, by count and in milliseconds.
	MaxEpochEnvelopes = 4096
	MaxEpochAge       = 7 * 24 * 3600 * 1000
	// MaxTurnedEpochAge turns an epoch over whose key went to an age recipient that was replaced since.
	MaxTurnedEpochAge = 24 * 3600 * 1000
	// MaxLetterSize bounds the plaintext of a letter: an agreement with its signatures.
	MaxLetterSize = 32 << 10

	// MaxRequestValues and MaxRequestSize bound the values that a request for information names, and
	// their bytes; MaxReplyRecords the records that a reply names.
	MaxRequestValues = 64
	MaxRequestSize   = 16 << 10
	MaxReplyRecords  = 256

	// MaxCardSize bounds a signed card: 16 nodes of 2.3 kB and the rest.
	MaxCardSize = 64 << 10
	// MaxRecipientSize bounds an age recipient; a post-quantum one has 1,959 bytes.
	MaxRecipientSize = 4 << 10
	// MaxNodes bounds the nodes on a card.
	MaxNodes = 16
	// MaxRemovedNodes bounds the removed nodes that a card lists. A removal that finds the
	// list full drops the oldest entry, so that removing is never blocked by a size.
	MaxRemovedNodes = 64
	// MaxFinalHeads bounds the final heads stated for one removed node.
	MaxFinalHeads = 64
	// MaxRootKeys, MaxRotations and MaxRetiredKeys bound the key history on a card.
	MaxRootKeys    = 8
	MaxRotations   = 16
	MaxRetiredKeys = 32
	// MaxShareSize bounds a root share, MaxSealedSecret the age file in it (about 200 bytes),
	// MaxFoundingSize and MaxRotationSize what goes between a node and a key ceremony: a rotation
	// holds a card and the signatures of three root sets.
	MaxShareSize    = 4 << 10
	MaxSealedSecret = 1 << 10
	MaxFoundingSize = 16 << 10
	MaxRotationSize = MaxCardSize + 16<<10
	// MaxAddrs bounds the addresses of a node or a network, MaxAddrSize each of them.
	MaxAddrs    = 16
	MaxAddrSize = 256
	// MaxDialBackSize bounds a request to dial back: all addresses of a node, and its framing.
	MaxDialBackSize = MaxAddrs*(MaxAddrSize+3) + 64
	// MaxCardLife bounds fresh-until beyond issued-at: 30 days in milliseconds.
	MaxCardLife = 30 * 24 * 3600 * 1000

	// MaxHelloSize bounds what a peer that is not known may say: its card, which is its
	// organisation's full state, and the sponsorships that brought it in. At most sixteen are
	// read at a time.
	MaxHelloSize = MaxCardSize + 16<<10
	// MaxIntroductionSize bounds what a peer says of its program, MaxProgramSize the name of that, and
	// MaxCapabilities how many things it says that it can do.
	MaxIntroductionSize = 8 << 10
	MaxProgramSize      = 64
	MaxCapabilities     = 64
	// MaxStatementSize bounds a roster statement.
	MaxStatementSize = 64 << 10
	// MaxStatementsPerSigner bounds the roster statements of one organisation that are kept.
	MaxStatementsPerSigner = 16384
	// MaxStewards bounds a network's stewards.
	MaxStewards = 16
	// MaxSecretShares bounds the nodes that one topic-secret statement is sealed to.
	MaxSecretShares = 24
	// MaxInviteSize bounds an invitation file.
	MaxInviteSize = 8 << 20
	// MaxInvitationLife bounds how long an invitation may be used: 30 days in milliseconds.
	MaxInvitationLife = 30 * 24 * 3600 * 1000

	// MaxAgreementSize bounds an agreement's canonical bytes; with its signatures it must
	// fit a letter.
	MaxAgreementSize = 24 << 10
	// MaxParties and MaxTerms bound an agreement.
	MaxParties = 32
	MaxTerms   = 64
	// MaxTermTopics, MaxTermKinds, MaxCountries, MaxPurposes, MaxNamedOrgs bound the lists
	// of a term or a handling.
	MaxTermTopics = 64
	MaxTermKinds  = 64
	MaxCountries  = 250
	MaxPurposes   = 16
	MaxNamedOrgs  = 64
	// MaxTextSize bounds free text: a reason, a legal basis, a contact.
	MaxTextSize = 4 << 10
	// MaxNameSize bounds a name: of an organisation, a topic, a network, a purpose.
	MaxNameSize = 128
	// MaxTerminationHeads bounds the heads that a termination names.
	MaxTerminationHeads = 256
	// MaxHops bounds the organisations that passed a record on, one after another.
	MaxHops = 8
	// MaxPauses bounds the times that a suspension lists. Of more, the oldest two become one.
	MaxPauses = 32

	// MaxFrontier bounds the feeds in one frontier message.
	MaxFrontier = 4096
	// MaxPullEntries and MaxPullBytes bound what one pull answers.
	MaxPullEntries = 1024
	MaxPullBytes   = 4 << 20
	// MaxFrameSize bounds one frame on a sync stream.
	MaxFrameSize = MaxPullBytes + MaxEnvelopeSize + 64<<10
	// MaxHeadInterval bounds the interval of heads that a node announces: a day, in seconds.
	MaxHeadInterval = 24 * 3600
	// MaxErasedEntries, MaxErasedRecords and MaxSurvivors bound one Erase: what expires
	// together is erased together, and its statement stays a few ten kilobytes.
	MaxErasedEntries = 256
	MaxErasedRecords = 512
	MaxSurvivors     = 256
	// MaxForkProofSize bounds a fork proof: two headers, two signatures, one origin.
	MaxForkProofSize = 1 << 10
	// MaxErasesPerFeed bounds the erase statements that are kept of one feed. An Erase names
	// up to MaxErasedEntries entries, so a feed can be erased whole well below it.
	MaxErasesPerFeed = 16 << 10
	// MaxReceiptLacking and MaxReceiptRanges bound a receipt; one that would name more is about
	// fewer entries.
	MaxReceiptLacking = 256
	MaxReceiptRanges  = 1024
	// MaxNoticeItems bounds the statements of one kind in one gossiped notice.
	MaxNoticeItems = 256
	// MaxFeedsPerNode bounds the feeds of one signing key in one topic that are held at all,
	// closed ones included. Each restore of a node from a backup makes one.
	MaxFeedsPerNode = 256

	// MaxDirectRoster, MaxDirectBounds and MaxDirectSize bound a direct topic and its statement,
	// MaxDirectTopics those of one node that are held: one is made whenever rosters change.
	MaxDirectRoster = 256
	MaxDirectBounds = 32
	MaxDirectSize   = 32 << 10
	MaxDirectTopics = 512

	// MaxSetItems bounds the hashes or statements in one message of the set exchange.
	MaxSetItems = 4096

	// MaxCarryHeaderSize and MaxCarryTrailerSize bound the first and the last frame of a
	// carried file, MaxCarryTopics the topics that it names.
	MaxCarryHeaderSize  = 64 << 10
	MaxCarryTrailerSize = 256
	MaxCarryTopics      = 1024
	// MaxCarryFeeds bounds the feeds of which a reader of a carried file keeps account.
	MaxCarryFeeds = 1 << 16

	// MaxBackupRecipients bounds the offline keys to which a backup is sealed.
	MaxBackupRecipients = 16
	// MaxBackupFrame bounds a frame of a backup: an entry with all records opened of it is the
	// largest, about 2.5 MiB at worst. MaxBackupHeadSize and MaxBackupTrailerSize bound the first
	// and the last one.
	MaxBackupFrame       = 4 << 20
	MaxBackupHeadSize    = 4 << 10
	MaxBackupTrailerSize = 256
	// MaxBackupFeeds bounds the feeds in a backup, MaxBackupItems the documents, epochs or marks
	// in one frame.
	MaxBackupFeeds = 1 << 20
	MaxBackupItems = 4096
	// MaxPersonName bounds the name by which a node knows a person, MaxPersonRoles the roles that
	// one has or had. MaxPersonCount bounds the counts by which siblings tell the later word about
	// people: it is even, so that whoever is there can still be removed.
	MaxPersonName  = 64
	MaxPersonRoles = 64
	MaxPersonCount = 1 << 32
	// MaxSiblingItem bounds one item that nodes of an organisation hold in common: an agreement
	// with the statements that ended it.
	MaxSiblingItem = 256 << 10
	// MaxRulesOffer bounds local rules and people that are put in force at all nodes at once: they
	// have to fit a sibling item, with a signature and names.
	MaxRulesOffer = MaxSiblingItem - 4<<10
	// MaxSiblingAudience bounds the readers that an item names: all members of a large network.
	MaxSiblingAudience = 4096

	// MaxCheckpoint bounds a checkpoint of an audit log, with its cosignatures, MaxCosignature one
	// of them, and MaxAuditProof the hashes of a proof: a log of 2^48 entries needs 49.
	MaxCheckpoint  = 16 << 10
	MaxCosignature = 512
	MaxAuditProof  = 64

	// MaxClockSkew is how far in the future a peer's clock may be, in milliseconds.
	MaxClockSkew = 10 * 60 * 1000
)
