-- The corpus of one organisation, as its nodes mirror it. Statements are parted by a line of two
-- dashes, run one by one, and can be run again: engines that do not roll back definitions are then no
-- trouble. Nothing here needs an extension, a trigger, a sequence or an advisory lock.

CREATE TABLE IF NOT EXISTS entente.mirrors (
	mirror integer PRIMARY KEY,
	id bytea NOT NULL UNIQUE,
	node text NOT NULL,
	session bytea NOT NULL,
	position bigint NOT NULL,
	erased bigint NOT NULL,
	whole boolean NOT NULL,
	began timestamptz NOT NULL,
	seen timestamptz NOT NULL
)
--
COMMENT ON TABLE entente.mirrors IS 'The data directories of nodes that write here: one for each node, and another after a node was restored from a backup'
--
COMMENT ON COLUMN entente.mirrors.id IS 'random, of the data directory'
--
COMMENT ON COLUMN entente.mirrors.node IS 'peer ID of the node'
--
COMMENT ON COLUMN entente.mirrors.session IS 'the run of the node that wrote last'
--
COMMENT ON COLUMN entente.mirrors.position IS 'cursor of the last change of that node that is written here'
--
COMMENT ON COLUMN entente.mirrors.erased IS 'cursor of the last change of which the erasures are written here'
--
COMMENT ON COLUMN entente.mirrors.whole IS 'whether everything that the node held was written once'
--
COMMENT ON COLUMN entente.mirrors.seen IS 'when it wrote last'
--
CREATE TABLE IF NOT EXISTS entente.organisations (
	org bytea PRIMARY KEY,
	org_id text NOT NULL,
	name text NOT NULL
)
--
COMMENT ON TABLE entente.organisations IS 'Organisations that records are of or came from'
--
COMMENT ON COLUMN entente.organisations.org_id IS 'as entente prints it: org:...'
--
COMMENT ON COLUMN entente.organisations.name IS 'what it calls itself; empty if its card is not known'
--
CREATE TABLE IF NOT EXISTS entente.records (
	record bytea PRIMARY KEY,
	record_id text NOT NULL,
	stix_id text NOT NULL,
	type text NOT NULL,
	created timestamptz,
	modified timestamptz,
	revoked boolean NOT NULL,
	confidence smallint,
	labels text[] NOT NULL,
	tlp text NOT NULL,
	pap text,
	countries text[] NOT NULL,
	personal_data text NOT NULL,
	purposes text[] NOT NULL,
	retention_days bigint,
	onward text NOT NULL,
	excluded text[] NOT NULL,
	named text[] NOT NULL,
	handling bytea NOT NULL,
	object text NOT NULL,
	plain boolean NOT NULL
)
--
COMMENT ON TABLE entente.records IS 'What is the same of a record wherever it is held: the STIX object, and how its originator says that it is to be handled'
--
COMMENT ON COLUMN entente.records.record IS 'the record id, 32 bytes'
--
COMMENT ON COLUMN entente.records.record_id IS 'the record id as entente prints it: rec:...'
--
COMMENT ON COLUMN entente.records.confidence IS 'as the object states it, 0 to 100; null: it states none'
--
COMMENT ON COLUMN entente.records.tlp IS 'clear, green, amber, amber+strict or red'
--
COMMENT ON COLUMN entente.records.countries IS 'ISO 3166-1 alpha-2; empty: partners with the worldwide term only'
--
COMMENT ON COLUMN entente.records.personal_data IS 'none, network, all or undetermined, which is treated as all'
--
COMMENT ON COLUMN entente.records.retention_days IS 'null: the agreement''s'
--
COMMENT ON COLUMN entente.records.onward IS 'to whom it may be passed on: nobody, named, kinds or partners'
--
COMMENT ON COLUMN entente.records.excluded IS 'organisations that must never receive it'
--
COMMENT ON COLUMN entente.records.named IS 'if not empty, nobody else may receive it'
--
COMMENT ON COLUMN entente.records.handling IS 'all of it, as it was signed'
--
COMMENT ON COLUMN entente.records.object IS 'the STIX object, byte for byte as its author wrote it'
--
COMMENT ON COLUMN entente.records.plain IS 'whether object can be cast to jsonb; cast it only where this is true'
--
CREATE INDEX IF NOT EXISTS records_stix_id ON entente.records (stix_id)
--
CREATE INDEX IF NOT EXISTS records_type ON entente.records (type)
--
CREATE TABLE IF NOT EXISTS entente.observables (
	record bytea NOT NULL,
	kind text NOT NULL,
	value text COLLATE "C" NOT NULL,
	digest bytea,
	network inet
)
--
COMMENT ON TABLE entente.observables IS 'What records are found by: observables in canonical form, and the hosts in URLs and beside ports'
--
COMMENT ON COLUMN entente.observables.kind IS 'ipv4, ipv6, ipv4-cidr, ipv6-cidr, ipv4-port, ipv6-port, domain, domain-port, url, email, md5, sha1, sha256, sha512 or filename'
--
COMMENT ON COLUMN entente.observables.value IS 'at most 1024 bytes of it'
--
COMMENT ON COLUMN entente.observables.digest IS 'SHA-256 of the whole value, if value is not all of it'
--
COMMENT ON COLUMN entente.observables.network IS 'of addresses and CIDRs; in v4 and v6 alike network >>= ''203.0.113.9'' finds what is about an address'
--
CREATE INDEX IF NOT EXISTS observables_value ON entente.observables (value)
--
CREATE INDEX IF NOT EXISTS observables_record ON entente.observables (record)
--
CREATE TABLE IF NOT EXISTS entente.holdings (
	mirror integer NOT NULL,
	cursor bigint NOT NULL,
	record bytea NOT NULL,
	topic text NOT NULL,
	type text NOT NULL,
	stix_id text NOT NULL,
	version bigint NOT NULL,
	originator bytea NOT NULL,
	publisher bytea NOT NULL,
	received timestamptz NOT NULL,
	withdrawn boolean NOT NULL,
	withdrawn_at timestamptz,
	withdraw_reason text,
	entry bytea NOT NULL,
	PRIMARY KEY (mirror, cursor)
)
--
COMMENT ON TABLE entente.holdings IS 'Which node holds which record, and from where: a record that two nodes hold has two lines'
--
COMMENT ON COLUMN entente.holdings.cursor IS 'place in the order in which the node received it'
--
COMMENT ON COLUMN entente.holdings.version IS 'when the object was modified, in nanoseconds since 1970; 0: it states no time'
--
COMMENT ON COLUMN entente.holdings.publisher IS 'the organisation that the record came from'
--
COMMENT ON COLUMN entente.holdings.withdrawn IS 'its originator retracted it, or who sent it did'
--
COMMENT ON COLUMN entente.holdings.entry IS 'what else the node keeps of it; for the node only'
--
CREATE UNIQUE INDEX IF NOT EXISTS holdings_record ON entente.holdings (record, mirror)
--
CREATE INDEX IF NOT EXISTS holdings_stix_id ON entente.holdings (stix_id, mirror)
--
CREATE INDEX IF NOT EXISTS holdings_type ON entente.holdings (mirror, type, cursor)
--
CREATE INDEX IF NOT EXISTS holdings_topic ON entente.holdings (mirror, topic, cursor)
--
CREATE INDEX IF NOT EXISTS holdings_received ON entente.holdings (mirror, received)
--
CREATE TABLE IF NOT EXISTS entente.tombstones (
	record bytea NOT NULL,
	org bytea NOT NULL,
	reason text NOT NULL,
	erased_at timestamptz NOT NULL,
	PRIMARY KEY (record, org)
)
--
COMMENT ON TABLE entente.tombstones IS 'Records that were erased, by whose word: org of zeros is the own organisation. They never come back'
