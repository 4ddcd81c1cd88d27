"""certwarden: TLS certificates for a house, answerable for what is in use."""

__version__ = "0.1.0"
