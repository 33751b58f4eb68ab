# What Strata's own commands need to rotate, retire and disable the key "strata".
# It belongs to a credential of its own, which a node has only if the commands are
# to work from it; a customer who does these things in Vault himself keeps it.
# It uses the key for nothing.

path "transit/keys/strata" {
  capabilities = ["read"]
}

path "transit/keys/strata/rotate" {
  capabilities = ["update"]
}

# min_encryption_version and min_decryption_version: what retires old versions.
path "transit/keys/strata/config" {
  capabilities = ["update"]
}

# Transit cannot disable a key. A policy that denies its use, attached to the nodes
# from the first day and ordinarily not there, can.
path "sys/policies/acl/strata-disabled-strata" {
  capabilities = ["create", "update", "delete"]
}
