// Package sim runs whole archives in a deterministic simulation: one or two
// nodes that write the same store, each with an index of its own, under an
// injected clock and injected randomness, with failing storage, crashes at any
// step, and whatever users do meanwhile. Its invariants are the five laws of the
// design. Everything follows from a seed, so a failing run can be had again:
//
//	go test ./test/sim -seed 1234
//
// # How
//
// A run lives in a bubble of testing/synctest, whose clock stands still while
// anything runs. Each operation of store, index and log first waits at a gate;
// when all of the bubble is at rest, the seed picks the one that goes on. So real
// concurrency is explored, in every order, but nothing happens by chance.
//
// Most runs use a model of the index, an executable sentence of what it has to say;
// some use the real one, which is compared with the model.
package sim
