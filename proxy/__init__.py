"""A local authenticating reverse proxy for FHIR servers."""

__version__ = "0.1.0"
