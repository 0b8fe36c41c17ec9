// Package bench measures nodes: whole ones, with their disks, keys and network, on this machine.
// Every scenario measures its baseline in the same run, so that a ratio says something wherever it
// was measured; the figures alone say something about the machine.
//
// The data is made from a seed: indicators as a vendor writes them, with values nobody has.
package bench
