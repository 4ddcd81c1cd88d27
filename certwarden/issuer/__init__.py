"""The conversation with the public CA (ACME, RFC 8555).

    issuer         porcelain: one order from newOrder to its chains, as section 7.4 tells it
    revoker        porcelain: revocation, section 7.6
    account        the account of a directory: its key, its registration, section 7.3
    client         plumbing: one method per request, on the libraries `acme` and `josepy`
    network        plumbing: one request with its nonce, its retries and its limits, section 6
    resources      the server's JSON objects, read with care, section 7.1
    polling        when to look again
    dns01          a challenge's TXT record, section 8.4
    problems       problem documents as our errors, section 6.7

Knows nothing of DNS providers, of files, or of when a certificate is due.
"""
