-- What analysts begin with. A record that several nodes hold is one line, as the first of them received it.

CREATE OR REPLACE VIEW entente.corpus AS
SELECT r.record, r.record_id, r.stix_id, r.type, h.topic,
	o.org_id AS originator, o.name AS originator_name, p.org_id AS publisher, p.name AS publisher_name,
	r.tlp, r.pap, r.countries, r.personal_data, r.purposes, r.retention_days, r.onward,
	r.created, r.modified, h.received, r.revoked, h.withdrawn, h.withdrawn_at, h.withdraw_reason,
	r.confidence, r.labels,
	CASE WHEN r.plain THEN CAST(r.object AS jsonb) END AS object
FROM entente.records r
JOIN entente.holdings h ON h.record = r.record
LEFT JOIN entente.organisations o ON o.org = h.originator
LEFT JOIN entente.organisations p ON p.org = h.publisher
WHERE NOT EXISTS (SELECT 1 FROM entente.holdings e WHERE e.record = h.record AND e.mirror <> h.mirror
	AND (e.received < h.received OR e.received = h.received AND e.mirror < h.mirror))
--
COMMENT ON VIEW entente.corpus IS 'All that the organisation can read: one line for each record, withdrawn ones and old versions included'
--
CREATE OR REPLACE VIEW entente.current AS
SELECT c.* FROM entente.corpus c
WHERE NOT c.withdrawn AND NOT c.revoked AND NOT EXISTS (
	SELECT 1 FROM entente.holdings n JOIN entente.holdings h ON h.stix_id = n.stix_id AND h.originator = n.originator
	WHERE n.stix_id = c.stix_id AND h.record = c.record AND n.version > h.version AND NOT n.withdrawn)
--
COMMENT ON VIEW entente.current IS 'Of entente.corpus the newest version of each object of each originator, if it is neither withdrawn nor revoked'
--
CREATE OR REPLACE VIEW entente.relationships AS
SELECT c.record, c.record_id, c.stix_id, c.topic, c.originator, c.tlp, c.withdrawn,
	c.object ->> 'relationship_type' AS relationship_type,
	c.object ->> 'source_ref' AS source_ref, c.object ->> 'target_ref' AS target_ref,
	c.object ->> 'description' AS description
FROM entente.corpus c WHERE c.type = 'relationship'
--
COMMENT ON VIEW entente.relationships IS 'STIX relationships: source_ref and target_ref are the stix_id of objects, which may not be here'
--
CREATE OR REPLACE VIEW entente.sightings AS
SELECT c.record, c.record_id, c.stix_id, c.topic, c.originator, c.originator_name, c.tlp, c.withdrawn,
	c.object ->> 'sighting_of_ref' AS sighting_of_ref,
	c.object ->> 'first_seen' AS first_seen, c.object ->> 'last_seen' AS last_seen,
	c.object ->> 'count' AS count,
	c.object -> 'where_sighted_refs' AS where_sighted_refs
FROM entente.corpus c WHERE c.type = 'sighting'
--
COMMENT ON VIEW entente.sightings IS 'STIX sightings: sighting_of_ref is the stix_id of what was seen; times and count are texts as the author wrote them'
