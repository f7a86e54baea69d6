/** What the codes of Node's, OpenSSL's and undici's errors are about. In tables of rules the first that matches counts, in this order. */
export const NETWORK_CODES = {
  refused: /^ECONNREFUSED$/,
  unresolved: /^(ENOTFOUND|EAI_AGAIN)$/,
  unreachable: /^(ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT)$/,
  /** Of a certificate: outside its validity. */
  outdated: /^(CERT_HAS_EXPIRED|CERT_NOT_YET_VALID)$/,
  otherName: /^ERR_TLS_CERT_ALTNAME_INVALID$/,
  untrusted:
    /SELF_SIGNED|UNABLE_TO_|CERT_(UNTRUSTED|REJECTED|REVOKED|SIGNATURE_FAILURE|CHAIN_TOO_LONG)|PATH_LENGTH|INVALID_CA/,
  noTls: /^(EPROTO|ERR_SSL_|ERR_TLS_|ERR_OSSL_)/,
  /** All of TLS, for who does not tell them apart. */
  anyTls: /SELF_SIGNED|UNABLE_TO_|^CERT_|^ERR_(TLS|SSL|OSSL)_|^EPROTO$|INVALID_(CA|PURPOSE)|PATH_LENGTH/,
  noHttp: /^(HPE_|UND_ERR_HEADERS_OVERFLOW)/,
  tooLarge: /^(RESPONSE_TOO_LARGE|UND_ERR_RES_EXCEEDED_MAX_SIZE)$/,
} as const;
