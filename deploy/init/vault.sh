#!/bin/sh
# Initialises Vault once, unseals it, makes the Transit key, its policies and the
# AppRoles of the nodes. It runs at every start, since a restarted Vault is sealed.
#
# The unseal key and the root token then lie in SEAL: a convenience of this file
# alone. In production people hold them, or a seal of its own (an HSM, a cloud KMS).
set -eu
umask 077
: "${SEAL:=/seal}" "${ROLES:=/roles}" "${POLICIES:=/policies}"

tries=0
until code=0; vault status >/dev/null 2>&1 || code=$?; [ "$code" != 1 ]; do # 1: no answer; 2: sealed
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || { echo "Vault does not answer at $VAULT_ADDR" >&2; exit 1; }
  sleep 1
done

if ! vault operator init -status >/dev/null 2>&1; then
  vault operator init -key-shares=1 -key-threshold=1 > "$SEAL/init.new"
  mv "$SEAL/init.new" "$SEAL/init"
  echo "Vault was initialised; its unseal key and root token are in $SEAL/init"
fi
[ -e "$SEAL/init" ] || { echo "Vault was initialised elsewhere: there is no $SEAL/init to unseal it with" >&2; exit 1; }
vault operator unseal "$(sed -n 's/^Unseal Key 1: //p' "$SEAL/init")" >/dev/null
VAULT_TOKEN=$(sed -n 's/^Initial Root Token: //p' "$SEAL/init")
export VAULT_TOKEN
until vault token lookup >/dev/null 2>&1; do # sealed, then without a leader for a moment
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || { echo "Vault does not become active" >&2; exit 1; }
  sleep 1
done

vault secrets list | grep -q '^transit/' || vault secrets enable transit
vault auth list | grep -q '^approle/' || vault auth enable approle
vault write -f transit/keys/strata type=aes256-gcm96 >/dev/null
vault policy write strata "$POLICIES/vault-policy.hcl" >/dev/null
vault policy write strata-admin "$POLICIES/vault-admin-policy.hcl" >/dev/null
for node in node1 node2 node3; do
  vault write "auth/approle/role/strata-$node" role_id="strata-$node" token_policies=strata,strata-disabled-strata \
    token_ttl=1h token_max_ttl=24h >/dev/null
  [ -s "$ROLES/$node/secret-id" ] || {
    vault write -f -field=secret_id "auth/approle/role/strata-$node/secret-id" > "$ROLES/$node/secret-id.new"
    chmod 444 "$ROLES/$node/secret-id.new" # the node is another user
    mv "$ROLES/$node/secret-id.new" "$ROLES/$node/secret-id"
  }
done
echo "Vault is ready"
