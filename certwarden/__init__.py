"""certwarden: TLS certificates for a house, answerable for what is in use."""

__version__ = "0.1.0"

# A day that had begun, in UTC, when this version was made: no right clock shows an earlier one. A
# day too early only makes that a weaker check, so it is raised with each release (a test compares
# it with the changelog), and never taken from files, whose times a wrong clock may have set.
BUILD_DATE = "2026-11-01"
