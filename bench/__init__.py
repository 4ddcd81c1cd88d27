"""Measures certwarden beside other ACME clients, in one run and on one small world.

`script/bench` runs it; the design's figures are the targets. Whole processes are measured from
outside, nothing inside certwarden knows of it.
"""
