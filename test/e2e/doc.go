// Package e2e tests the whole topology over HTTP, as clients see it: three nodes
// on one PostgreSQL, S3 server and Vault, behind a load balancer, and what becomes
// of them when a part is killed, frozen, cut off, broken or forbidden.
//
// Ordinarily each fault is put in a few times. With -e2e.long it is many times, and
// with the settings that are the default; README.md has what came of that. TestFightLong, which has its
// own variables of the environment (see there), has nodes contend for the same studies.
package e2e
