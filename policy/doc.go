// Package policy decides who should get what. Its functions are pure: agreements, cards and
// handling go in as values, and a Decision comes out that names the agreement, the term and
// the reason. The same functions enforce, preview and explain; nothing else decides.
//
// The rule is default deny: a record goes to an organisation only if one term of one
// agreement in force, from the publisher to that organisation, covers it within every limit.
package policy
