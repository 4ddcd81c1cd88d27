"""The DNS zone: TXT records at the provider, whether the world sees them yet, and who may issue.

`cloudflare` is the port `Zone`, and `batching` the same for many orders at once; `propagation` is
the port `Propagation` and `caa` the port `CaaRecords`. These two do not load the provider's
library, and nothing here is loaded by a pass that has no certificate to obtain.
"""
