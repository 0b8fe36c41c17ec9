// Package stix reads STIX 2.1 as the mesh needs it: objects kept byte for byte, the markings
// on them, the observables in them, and indicators made from bare observables.
//
// It is not a STIX library. An object is carried exactly as its author wrote it; only what
// the mesh must know is looked at, and that strictly: its id, its type, its times, who may
// see it. Custom types, extensions and properties unknown here are accepted and never altered.
//
// What the standard says of objects stands in model.txt, as a table; [Validate] judges by it, and
// names the sentence that an object breaks.
//
// Whether bytes are JSON is judged by jsontext of github.com/go-json-experiment/json, which
// is Go 1.27's encoding/json/jsontext for older releases: with the options in json.go it
// accepts exactly what encoding/json does, in a third of the time (370 ns for an indicator of
// 500 bytes). A scanner of our own took 260 ns and segmentio's encoding, which is all unsafe,
// 210: a twentieth of Parse is not worth keeping either strict. encoding/json stays for the
// message when bytes are refused.
//
// The pages referred to as "STIX" are those of STIX Version 2.1, OASIS Standard, 10 June 2021.
package stix
