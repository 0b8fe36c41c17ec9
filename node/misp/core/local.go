package core

// Local are the properties that mean something only to the database that wrote an event: its numbers
// for what has a UUID as well, what it computes, and who typed it in. They are not carried.
var Local = map[string]bool{
	"id": true, "event_id": true, "object_id": true, "org_id": true, "orgc_id": true, "user_id": true, "sharing_group_id": true,
	"attribute_id": true, "galaxy_id": true, "tag_id": true, "event_tag_id": true, "attribute_tag_id": true, "galaxy_cluster_id": true,
	"referenced_id": true, "attribute_count": true, "event_creator_email": true, "creator_email": true,
	"value1": true, "value2": true, "sighting_timestamp": true, "local_only": true, "local": true, "enabled": true,
	"is_galaxy": true, "is_custom_galaxy": true, "warnings": true, "event_uuid": true, "object_uuid": true, "event_info": true,
	"default": true, "proposal_email_lock": true, "locked": true,
}

// Defaults are what MISP takes a property to be if it is absent. Whether a default was written or left
// out is not kept.
var Defaults = map[string]map[string]string{
	"Attribute": {"comment": "", "deleted": "false", "disable_correlation": "false", "first_seen": "", "last_seen": "", "object_relation": "", "distribution": distInherit, "data": ""},
	"Object":    {"comment": "", "deleted": "false", "first_seen": "", "last_seen": "", "distribution": distInherit, "description": ""},
	"Event":     {"extends_uuid": "", "disable_correlation": "false", "publish_timestamp": "0", "published": "false", "protected": "", "deleted": "false"},
	"Tag":       {"exportable": "true", "hide_tag": "false", "numerical_value": "", "relationship_type": "", "colour": ""},
	"Report":    {"deleted": "false", "distribution": distInherit, "content": ""},
	"Reference": {"comment": "", "deleted": "false"},
	"Sighting":  {"source": "", "type": "0"},
	"Galaxy":    {"kill_chain_order": "", "description": ""},
	"Cluster":   {"extends_uuid": "", "extends_version": "0", "published": "false", "deleted": "false", "relationship_type": ""},
}

// truth are the ways in which MISP writes the same boolean.
var truth = map[string]string{"0": "false", "1": "true"}

// booleans are properties that are written as a boolean, or as 0 or 1.
var booleans = map[string]bool{"to_ids": true, "deleted": true, "disable_correlation": true, "published": true, "exportable": true,
	"hide_tag": true, "protected": true}

// isDefault reports whether a property of something says what its absence says.
func isDefault(of, name, text string) bool {
	if booleans[name] && truth[text] != "" {
		text = truth[text]
	}
	def, ok := Defaults[of][name]
	return ok && text == def || text == "" && !ok
}
