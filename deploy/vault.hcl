# Vault as compose.yaml runs it.
storage "raft" {
  path    = "/vault/file"
  node_id = "vault"
}
listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/run/secrets/server.pem"
  tls_key_file  = "/run/secrets/server.key"
}
api_addr      = "https://vault:8200"
cluster_addr  = "https://vault:8201"
disable_mlock = true # give the host encrypted swap, or none
