package policy

import (
	"slices"
	"strings"
)

// assigned are the officially assigned codes of ISO 3166-1 alpha-2. Source: iso3166.tab of the
// time zone database 2025b (public domain), current as of ISO/TC 46 N1108 of 2023-04-05; equal to
// the list of Debian's iso-codes 4.15.0.
const assigned = `
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ
BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM
DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS
GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN
KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ
MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM
PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV
SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI
VN VU WF WS YE YT ZA ZM ZW`

var countryCodes = strings.Fields(assigned)

// Countries lists the assigned codes of ISO 3166-1 alpha-2, sorted.
func Countries() []string { return slices.Clone(countryCodes) }

// IsAssigned reports whether a code is assigned in ISO 3166-1.
func IsAssigned(code string) bool {
	_, ok := slices.BinarySearch(countryCodes, code)
	return ok
}

// meant says what those who write a code that is not assigned mostly mean.
var meant = map[string]string{"UK": "GB", "EL": "GR", "SU": "RU", "AN": "BQ, CW and SX", "YU": "RS and ME", "TP": "TL", "ZR": "CD", "BU": "MM", "FX": "FR", "CS": "RS and ME"}

// unassigned says what to do about a code that is not assigned.
func unassigned(code string) string {
	switch {
	case meant[code] != "":
		return "write " + meant[code]
	case code == "EU":
		return "it is no country: name its members"
	case userAssigned(code):
		return "it is left to its users to give it a meaning: see that all parties mean the same by it"
	}
	return "correct it, or see that all parties mark records with it"
}

// userAssigned reports whether ISO 3166-1 leaves a code to its users, as XK for Kosovo.
func userAssigned(code string) bool {
	return len(code) == 2 && (code == "AA" || code == "ZZ" || "QM" <= code && code <= "QZ" || code[0] == 'X')
}
