// Package intake reads what an organisation wants to publish: STIX bundles, MISP events and
// plain lists of observables. It turns them into STIX objects with the handling that the
// source states, and says of everything that it sets aside where it stands and why.
//
// Nothing is lost silently: each entry of a file becomes an item, or part of one, or a
// problem, or is counted as a duplicate.
package intake
