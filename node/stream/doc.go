// Package stream gives changes to who follows them: over server-sent events to who asks, and to sinks,
// which a person set and to which the node delivers by itself (webhooks, NATS JetStream, syslog).
//
// Every change is delivered at least once, and for the first time in the order of the cursors. How far
// a receiver has come is stored after it acknowledged; a node that dies in between delivers again what
// it does not know to have arrived. What is delivered is read anew for every attempt, as the sink's
// reader may see it at that time: what was erased or forbidden since is not sent, and an erasure is a
// change of its own. A sink that fails holds up nothing but itself.
//
// Machine is the state of one delivery, without I/O; webhook.go, nats.go and syslog.go speak to receivers.
package stream
