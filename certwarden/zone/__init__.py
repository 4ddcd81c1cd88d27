"""The DNS zone: TXT records at the provider, and whether the world can see them yet.

`cloudflare` is the port `Zone`, `propagation` the port `Propagation`. Loading one does not load
the other, and neither is loaded by a pass that has no certificate to obtain.
"""
