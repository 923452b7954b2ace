"""Replicas with one token cache, before a real Redis."""
