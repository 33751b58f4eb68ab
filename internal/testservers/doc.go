// Package testservers starts the real servers that tests need, on loopback, for the life of a test binary, and finds
// what else was brought for tests.
package testservers
