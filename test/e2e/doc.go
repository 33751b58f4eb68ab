// Package e2e tests the whole topology over HTTP, as clients see it: three nodes
// on one PostgreSQL, S3 server and Vault, behind a load balancer, and what becomes
// of them when a part is killed, frozen, restarted or forbidden.
package e2e
