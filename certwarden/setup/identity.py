"""By which request headers a proxy tells the program behind it who a client is.

Owns their names. A header that a program believes has to be set or taken away by whoever stands
before it: a client can send any.
"""

USER = "X-Forwarded-User"
VERIFY = "X-Client-Verify"
SERIAL = "X-Client-Serial"  # upper case hex, as OpenSSL prints it
ADDRESS_HEADERS = ("X-Forwarded-For", "X-Real-IP")

# Who a client is, its groups and its address, to uibuilder 7 (nodes/libs/socket.cjs) and to much
# that stands behind Authelia, Authentik, oauth2-proxy or Cloudflare Access.
FORGEABLE = (
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Remote-User",
    "X-Remote-Name",
    "X-Remote-Email",
    "X-Remote-Groups",
    "X-User-Id",
    "X-User-Name",
    "X-User-Email",
    "X-User-Role",
    "X-Client-IP",
    "X-Authentik-Uid",
    "X-Authentik-Username",
    "X-Authentik-Name",
    "X-Authentik-Email",
    "X-Authentik-Groups",
    "Remote-User",
    "Remote-Name",
    "Remote-Email",
    "Remote-Groups",
    "Cf-Access-User",
    "Cf-Access-Authenticated-User-Email",
    "Cf-Access-Jwt-Assertion",
)
