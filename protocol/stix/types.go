package stix

// required are the properties that STIX 2.1 demands of a type beyond the common ones
// (parts 4 to 7). A type that is not listed is an observable without demands, or custom.
var required = map[string][]string{
	// domain objects, STIX 4
	"attack-pattern":   {"name"},
	"campaign":         {"name"},
	"course-of-action": {"name"},
	"grouping":         {"context", "object_refs"},
	"identity":         {"name"},
	"incident":         {"name"},
	"indicator":        {"pattern", "pattern_type", "valid_from"},
	"infrastructure":   {"name"},
	"intrusion-set":    {"name"},
	"location":         {},
	"malware":          {"is_family"},
	"malware-analysis": {"product"},
	"note":             {"content", "object_refs"},
	"observed-data":    {"first_observed", "last_observed", "number_observed"},
	"opinion":          {"opinion", "object_refs"},
	"report":           {"name", "published", "object_refs"},
	"threat-actor":     {"name"},
	"tool":             {"name"},
	"vulnerability":    {"name"},
	// relationship objects, STIX 5
	"relationship": {"relationship_type", "source_ref", "target_ref"},
	"sighting":     {"sighting_of_ref"},
	// meta objects, STIX 7
	"extension-definition": {"name", "schema", "version", "extension_types"},
	"language-content":     {"object_ref", "contents"},
	"marking-definition":   {},
	// observables, STIX 6
	"autonomous-system":    {"number"},
	"directory":            {"path"},
	"domain-name":          {"value"},
	"email-addr":           {"value"},
	"ipv4-addr":            {"value"},
	"ipv6-addr":            {"value"},
	"mac-addr":             {"value"},
	"mutex":                {"name"},
	"network-traffic":      {"protocols"},
	"software":             {"name"},
	"url":                  {"value"},
	"file":                 {},
	"artifact":             {},
	"email-message":        {"is_multipart"},
	"process":              {},
	"user-account":         {},
	"windows-registry-key": {},
	"x509-certificate":     {},
}

// refProperties are properties of a type that must be one id.
var refProperties = map[string][]string{
	"relationship":     {"source_ref", "target_ref"},
	"sighting":         {"sighting_of_ref"},
	"language-content": {"object_ref"},
}

// observableTypes are the types of STIX 6, which carry neither times nor, necessarily, a
// spec_version.
var observableTypes = map[string]bool{
	"artifact": true, "autonomous-system": true, "directory": true, "domain-name": true,
	"email-addr": true, "email-message": true, "file": true, "ipv4-addr": true,
	"ipv6-addr": true, "mac-addr": true, "mutex": true, "network-traffic": true,
	"process": true, "software": true, "url": true, "user-account": true,
	"windows-registry-key": true, "x509-certificate": true,
}

// needsVersion reports whether STIX requires spec_version and times of the type. A custom
// type may be an observable, so nothing is required of it.
func needsVersion(typ string) bool {
	_, known := required[typ]
	return known && !observableTypes[typ]
}
