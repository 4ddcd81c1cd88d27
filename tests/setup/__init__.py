"""Tests of `certwarden.setup`."""
