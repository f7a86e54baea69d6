# Read rights beside one of the two issuing policies: nothing can be issued with these. With them mesh-ca says exactly what is wrong, where it could
# otherwise only guess, and a token made with -no-default-policy can be kept alive.

# The names and keys that the role allows, before the first certificate is refused.
path "kmesh-pki-default/roles/dataplane-proxies" {
  capabilities = ["read"]
}

# Tells a role that is not there from a right that is missing.
path "kmesh-pki-default/roles" {
  capabilities = ["list"]
}

# Tells an issuer that may not sign, or that was revoked, before the first certificate is refused.
path "kmesh-pki-default/issuer/+" {
  capabilities = ["read"]
}

# Vault's own policy "default" gives these to every token that was not made with -no-default-policy.
path "sys/capabilities-self" {
  capabilities = ["update"]
}
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
