"""Tests of the world itself: that it is strict, and fails as it is told."""
