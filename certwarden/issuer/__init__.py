"""The conversation with the public CA (ACME, RFC 8555).

    issuer         porcelain: one order from newOrder to its chains, as section 7.4 tells it
    revoker        porcelain: revocation, section 7.6
    account        the account of a directory: its key, its registration, section 7.3
    client         plumbing: one method per request, on the libraries `acme` and `josepy`
    network        plumbing: one request with its nonce, its signature and its retries, section 6
    transport      plumbing: one exchange over HTTP, and what a reply objects to
    renewal_info   porcelain: when to renew, by the CA's own word; without account or library
    resources      the server's JSON objects, read with care, section 7.1
    once           what many threads need and one of them gets
    polling        when to look again
    dns01          a challenge's TXT record, section 8.4
    problems       problem documents as our errors, section 6.7

Knows nothing of DNS providers, of files, or of when a certificate is due.
"""
