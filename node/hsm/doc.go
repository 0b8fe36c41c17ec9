// Package hsm signs with an operational key that is in a hardware security module.
//
// A module is reached through a shared library of its vendor (PKCS #11). That is not loaded into the node,
// but into a program of its own, entente-pkcs11, which the node starts and speaks to over its standard
// input and output. Nobody else can reach it, and where the library fails, hangs or is taken over, it is
// not the node that is.
//
// Frames go both ways, one at a time, each answered before the next is sent:
//
//	be32 length || structure, encoded as everything else in package protocol
//
//	node                                  helper
//	Open [version, reference, make]  ->
//	                                 <-   Answer [version, status, bytes: public key 32, text]
//	Ask [version, kind, context,     ->
//	     network 32, statement]
//	                                 <-   Answer [version, status, bytes: signature 64 or public key 32, text]
//
// The helper makes what is signed from context, network and statement itself, and signs in the contexts of
// an operational key only: the key cannot be had to sign anything else. It ends when its input does, after
// anything that is not a frame, and after an answer that is not Good: the library is begun anew then.
package hsm
