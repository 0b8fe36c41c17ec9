package policy

import "slices"

// Purpose is an entry of the vocabulary of purposes, for which records are given and used.
// Others may be used; the parties then agree on what they mean.
type Purpose struct {
	Token       string
	Description string
	// Source is the text that the purpose is taken from; "" if it is Entente's own.
	Source string
}

// rpd is INTERPOL's Rules on the Processing of Data, III/IRPD/GA/2011 as amended, Article 10,
// "Purposes of international police cooperation". What stands here is a paraphrase by way of
// https://otherside.law/interpol-rules-processing-data-amendments-2023, which lists the purposes
// and gives the letters of two of them after the amendment of 2023. The text of the Rules was not
// at hand: letters that could not be checked are left out.
const rpd = "INTERPOL RPD, Article 10"

var purposeVocabulary = []Purpose{
	{"prevention", "keep harm from happening: block, patch, harden", ""},
	{"detection", "find compromise and attacks in one's own networks and those of one's constituents", ""},
	{"investigation", "find out who did what, and how", ""},
	{"prosecution", "bring a case to a court; evidence", ""},
	{"victim-notification", "tell those who are affected", ""},
	{"research", "study threats, without acting on single cases", ""},
	{"interpol-wanted-person", "search for a wanted person, with a view to arrest or restriction of movement", rpd},
	{"interpol-locate", "locate or identify a person or an object of interest to the police", rpd},
	{"interpol-criminal-information", "give or obtain information about an investigation, or a person's criminal history and activities", rpd},
	{"interpol-warning", "warn of a person, an event, an object or a method connected with crime", rpd},
	{"interpol-identification", "identify a person, or a dead body", rpd},
	{"interpol-forensic-analysis", "carry out forensic analyses", rpd},
	{"interpol-security-check", "carry out security checks for police cooperation, to prevent or detect crime", rpd + "(g)"},
	{"interpol-border-control", "carry out border management and border control", rpd + "(h)"},
	{"interpol-threat-analysis", "identify threats, crime trends and criminal networks", rpd},
}

// Purposes lists the vocabulary of purposes.
func Purposes() []Purpose { return slices.Clone(purposeVocabulary) }

// KnownPurpose reports whether a purpose stands in the vocabulary.
func KnownPurpose(token string) bool {
	return slices.ContainsFunc(purposeVocabulary, func(p Purpose) bool { return p.Token == token })
}
