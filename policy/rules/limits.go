package rules

// Bounds on rules and people. Every decision that is not cached goes through all rules about
// its action, so that they bound its cost, too.
const (
	MaxText    = 128 << 10 // bytes of rules
	MaxPeople  = 256 << 10 // bytes of a people file
	MaxRules   = 256
	MaxPersons = 4096 // people, machines and roles
	MaxRoles   = 32   // of one person

	maxNesting  = 32   // brackets within brackets
	maxTokens   = 1000 // words and signs of one rule
	maxHas      = 4    // attributes of attributes in one "has"
	maxName     = 64   // bytes of the name of a rule, a person or a role
	maxReason   = 200  // bytes of a reason
	maxProblems = 20   // told at once
)
