"""Differential tests: random sequences played against two servers, answers compared."""
