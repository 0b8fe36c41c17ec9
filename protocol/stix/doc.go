// Package stix reads STIX 2.1 as the mesh needs it: objects kept byte for byte, the markings
// on them, the observables in them, and indicators made from bare observables.
//
// It is not a STIX library. An object is carried exactly as its author wrote it; only what
// the mesh must know is looked at, and that strictly: its id, its type, its times, who may
// see it. Custom types, extensions and properties unknown here are accepted and never altered.
//
// The pages referred to as "STIX" are those of STIX Version 2.1, OASIS Standard, 10 June 2021.
package stix
