"""What the server refuses: a status, an issue code and a sentence, answered as an OperationOutcome."""

from __future__ import annotations


class FhirError(Exception):
    """A refusal; `code` is from http://hl7.org/fhir/issue-type."""

    def __init__(self, status: int, code: str, diagnostics: str, fields: tuple[tuple[str, str], ...] = ()):
        super().__init__(diagnostics)
        self.status = status
        self.code = code
        self.diagnostics = diagnostics
        self.fields = fields

    def outcome(self) -> dict[str, object]:
        """Return the OperationOutcome."""
        issue = {"severity": "error", "code": self.code, "diagnostics": self.diagnostics}
        return {"resourceType": "OperationOutcome", "issue": [issue]}


def not_found(type_: str, id_: str) -> FhirError:
    """Return the 404 in Microsoft's words."""
    return FhirError(404, "not-found", f"Resource type '{type_}' with id '{id_}' couldn't be found.")


def precondition_failed(diagnostics: str) -> FhirError:
    """Return the 412 of a condition that does not hold."""
    return FhirError(412, "conflict", diagnostics)
