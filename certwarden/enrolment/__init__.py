"""How a client comes by its certificate over the network: a page for people, EST for programs.

Loaded only while an invitation is open. It speaks HTTP and HTML; who may have a certificate, and
what is in it, is `lifecycle.invite`'s to say, and it keeps nothing.
"""
