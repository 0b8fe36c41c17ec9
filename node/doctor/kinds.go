package doctor

// Kinds says of every kind of problem which check it belongs to. docs/problems.md says of each what it
// means and what to do. A kind never changes its meaning: monitoring goes by it.
var Kinds = map[string]string{
	"not-checked": "node", // of any check: why it could not be made

	"node-unopened": "node",
	"node-down":     "node",
	"restored":      "node",

	"clock-behind":         "clock",
	"clock-contradicted":   "clock",
	"clock-unconfirmed":    "clock",
	"clock-differs":        "clock",
	"clock-unsynchronised": "clock",

	"disk-space":        "disk",
	"disk-inodes":       "disk",
	"disk-read-only":    "disk",
	"disk-network":      "disk",
	"disk-memory":       "disk",
	"disk-container":    "disk",
	"disk-limit":        "disk",
	"disk-nearly-full":  "disk",
	"disk-full":         "disk",
	"disk-slow":         "disk",
	"storing-failed":    "disk",
	"share-nearly-used": "disk",
	"share-used":        "disk",

	"secret-readable": "permissions",
	"file-writable":   "permissions",
	"file-owner":      "permissions",

	"card-stale":          "keys",
	"card-ending":         "keys",
	"node-expired":        "keys",
	"node-ending":         "keys",
	"node-not-on-card":    "keys",
	"op-key-elsewhere":    "keys",
	"certificate-expired": "keys",
	"certificate-ending":  "keys",

	"age-identity-overdue": "keys",
	"token-silent":         "keys",
	"pin-refused":          "keys",

	"port-closed":        "ports",
	"port-unanswered":    "ports",
	"port-taken":         "ports",
	"port-one-transport": "ports",
	"udp-buffers":        "ports",
	"file-handles":       "ports",

	"unreachable":         "reachability",
	"relay-unusable":      "reachability",
	"relay-none":          "reachability",
	"relay-single":        "reachability",
	"address-unreachable": "reachability",

	"no-peer":              "peers",
	"peer-unreachable":     "peers",
	"peer-refuses":         "peers",
	"peer-incompatible":    "peers",
	"peer-shares-no-topic": "peers",
	"peer-outdated":        "peers",
	"version-behind":       "peers",

	"no-network":         "roster",
	"removed":            "roster",
	"steward-stale":      "roster",
	"partner-card-stale": "roster",
	"card-conflict":      "roster",

	"agreement-proposed":  "agreements",
	"agreement-ending":    "agreements",
	"agreement-suspended": "agreements",
	"mandate-expired":     "agreements",
	"mandate-ending":      "agreements",

	"entries-missing":  "gaps",
	"entries-unjudged": "gaps",
	"feed-silent":      "gaps",
	"feed-forked":      "gaps",
	"key-awaited":      "gaps",
	"key-withheld":     "gaps",
	"quarantine":       "gaps",
	"only-here":        "gaps",

	"backup-never":      "backup",
	"backup-old":        "backup",
	"backup-unverified": "backup",

	"erasure-pending": "erasures",
	"erasure-overdue": "erasures",
	"erasure-waiting": "erasures",

	"requests-overdue":    "requests",
	"requests-waiting":    "requests",
	"requests-unanswered": "requests",

	"rules-unconfirmed": "rules",
	"rules-unreadable":  "rules",
	"rules-refused":     "rules",
	"rules-differ":      "rules",

	"consumers-unconfirmed": "consumers",
	"consumers-nobodys":     "consumers",
	"set-up-nobodys":        "consumers",

	"people-unconfirmed": "people",
	"people-one-account": "people",
	"people-no-admin":    "people",
	"people-no-second":   "people",

	"sink-unconfirmed": "sinks",
	"sink-stopped":     "sinks",
	"sink-owner-left":  "sinks",
	"sink-failing":     "sinks",
	"sink-behind":      "sinks",

	"source-unconfirmed":       "sources",
	"source-owner-left":        "sources",
	"source-failing":           "sources",
	"source-dead-letters":      "sources",
	"source-dead-letters-lost": "sources",
	"dead-letters-held":        "sources",

	"mirror-gone":         "mirror",
	"mirror-disconnected": "mirror",
	"mirror-reader":       "mirror",

	"audit-forked":       "audit",
	"audit-discontinued": "audit",
	"audit-contradicted": "audit",
}
