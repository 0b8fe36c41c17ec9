// Package core turns events of MISP (the core format) into STIX objects and back. Nothing is lost on
// the way that is not named: what STIX has no place for stands in properties x_misp_NAME, as
// misp-stix writes them, where NAME is MISP's own; what is only of the database that wrote an event
// is in [Local], and what is not carried is said in a note or a problem.
//
// docs/misp.md holds the mapping, and what is lost in either direction.
package core
