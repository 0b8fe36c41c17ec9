// Package entente is the root of the module; it holds only the tests of the house itself.
// See protocol, crypto, policy and node.
package entente
