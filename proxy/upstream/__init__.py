"""The connections to the real server."""
