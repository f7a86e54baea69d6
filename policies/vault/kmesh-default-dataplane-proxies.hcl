path "/kmesh-pki-default/issue/dataplane-proxies"
{
capabilities = ["create", "update"]
}
