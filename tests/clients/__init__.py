"""Stock clients of the v2 API in a real session."""
