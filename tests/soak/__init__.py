"""Endurance: one member under mixed load for an hour, and what it takes must stay flat. README.md has the story."""
