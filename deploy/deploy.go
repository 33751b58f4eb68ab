// Package deploy holds what a deployment starts from, for those who start one
// from Go: the tests and `make stack` run on the same files as compose.yaml.
package deploy

import _ "embed"

// Compose is compose.yaml: the full stack for a container engine.
//
//go:embed compose.yaml
var Compose []byte

// Balancer is haproxy.cfg. It takes LISTEN, LISTEN_TLS, NODE1 to NODE3 and
// NODE_TLS from the environment.
//
//go:embed haproxy.cfg
var Balancer []byte

// VaultPolicy is vault-policy.hcl: what a node may do with the key named strata.
//
//go:embed vault-policy.hcl
var VaultPolicy string

// VaultAdminPolicy is vault-admin-policy.hcl: what rotating, retiring and
// disabling that key needs.
//
//go:embed vault-admin-policy.hcl
var VaultAdminPolicy string
