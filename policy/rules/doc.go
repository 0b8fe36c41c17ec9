// Package rules is an organisation's own word on what its agreements allow: prohibitions about
// what it shares, receives and passes on, and the rights of its own people and machines. The
// rules are Cedar policies (docs.cedarpolicy.com) under the schema that Schema returns. They
// only narrow: package policy asks them where everything else allows.
//
// The package has no I/O, and its values do not change after they were made.
package rules
