# mesh-ca makes the key, Vault signs: no private key ever crosses the network, and Vault makes no RSA keys.
path "kmesh-pki-default/sign/dataplane-proxies" {
  capabilities = ["update"]
}

# Tells mesh-ca which keys the role signs and whether it takes names from the CSR. Without it the documented role is assumed.
path "kmesh-pki-default/roles/dataplane-proxies" {
  capabilities = ["read"]
}
