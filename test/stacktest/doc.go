// Package stacktest runs the whole topology on one machine from the programs
// themselves, without a container engine: PostgreSQL, an S3 server, Vault,
// several nodes that share them, and a load balancer before the nodes. Each part
// is a handle by which a test kills, stops, freezes and restarts it.
//
// Everything listens on loopback without TLS, runs as the calling user
// (PostgreSQL, which refuses root, as the system's user for it) and dies with the
// calling process, however that ends. What the parts keep lies in one folder, so
// that a stack opened there again has its data.
//
// It needs what `make setup` brings, and Linux.
package stacktest
