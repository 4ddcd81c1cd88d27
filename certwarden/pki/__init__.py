"""Keys and certificates: bytes in, bytes out, no I/O and no clock."""
