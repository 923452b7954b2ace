"""`python -m proxy` is the command `fhir-auth-proxy`."""

from .cli import main

if __name__ == "__main__":
    main()
