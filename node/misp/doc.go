// Package misp speaks with MISP instances: it serves the feed format and the REST calls by which an
// instance of MISP 2.4 or 2.5, and PyMISP, pull from a node and push to it, and it pulls feeds. What
// becomes of an event is in package core; docs/misp.md has the calls and their shapes.
//
// Everything that is served is what the consumer may read and export, decided when it is served.
package misp
