"""Tests of the real binary from outside; see README.md."""
