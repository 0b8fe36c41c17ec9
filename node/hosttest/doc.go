// Package hosttest holds tests with real processes: the built command, killed at random
// moments, and, where the machine allows it, in network namespaces of their own.
//
// The tests that need root run with ENTENTE_HOSTS=1. Each job of that kind appends a line to
// the file that ENTENTE_SUMMARY names: "RAN name n", or "NOT RUN name: reason".
package hosttest
