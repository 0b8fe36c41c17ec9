// Package disk is what a node needs of a disk: files that are put in place whole, and a table
// that changes all or nothing. Files are those of the operating system, or of a Disk, which
// keeps everything in memory and can lose its power at any step.
//
// A Disk outlives whoever is opened on it, so that a test or a simulation crashes a node,
// opens another on what had become durable, and compares what was promised with what is
// there. It knows what is durable: what was written to a file and not synced is lost, and so
// is a file made or renamed in a directory that was not synced.
package disk
