"""An Entra-like tenant and a small FHIR server on real sockets."""
