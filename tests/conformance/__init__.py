"""Plays recorded transcripts against the real binary; see ../README.md."""
