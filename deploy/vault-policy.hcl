# What a node of Strata may do at Vault: use one key of the Transit engine. It
# cannot read the key (nobody can), change it, or make another.
#
# This is the key "strata" in the engine mounted at "transit". For another tenant
# copy the three blocks and put its key's name in; give a policy of its own to
# each node that may not serve every tenant.

path "transit/encrypt/strata" {
  capabilities = ["update"]
}

path "transit/decrypt/strata" {
  capabilities = ["update"]
}

# Which versions there are, for `strata keys status`. No key material.
path "transit/keys/strata" {
  capabilities = ["read"]
}
