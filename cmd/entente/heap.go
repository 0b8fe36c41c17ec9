package main

import "os"

// heapFloor is memory that is never touched, and so never resident; it counts while it is kept
// alive. A node at rest has a heap of some ten megabytes; collecting its garbage whenever that has
// doubled means every hundred lookups, and those that meet a collection are the slowest by far. With
// the floor it happens when 64 MiB more are in use, and a large heap, of which the floor is a small
// part, is as before. Nothing is done if the person who started the process decides about its heap.
func heapFloor() []byte {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	return make([]byte, 64<<20)
}
