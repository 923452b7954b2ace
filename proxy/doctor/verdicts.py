"""What the doctor finds: a verdict a step, and the report that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ..errors import ProxyError

FORMAT = 1
"""Number of the JSON's form; it grows when a key changes its meaning or goes away."""


class Status(StrEnum):
    """How a step ended."""

    OK = "ok"
    WARNING = "warning"
    """Requests may pass, and something is off."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """It could not be looked at, or there was nothing to look at."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One step's end: what was found, and for what is off its cause and the way out.

    No text of it holds a secret, a token or patient data.
    """

    status: Status
    found: str = ""
    cause: str = ""
    """Set for all but OK."""
    fix: str = ""
    """Set for FAILED and WARNING."""
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def lets_others_go_on(self) -> bool:
        """Whether steps that need this one have what they need."""
        return self.status in {Status.OK, Status.WARNING}


def failed(error: ProxyError, advice: str, details: Mapping[str, str] | None = None) -> Verdict:
    """The verdict for an error; `advice` is the way out where the error knows none."""
    return Verdict(Status.FAILED, cause=error.message, fix=error.hint or advice, details=details or {})


def skipped(cause: str) -> Verdict:
    """The verdict for a step that was not made."""
    return Verdict(Status.SKIPPED, cause=cause)


@dataclass(frozen=True, slots=True)
class Finding:
    """A step's verdict under its name and title, with the exit status that it stands for if it failed."""

    step: str
    title: str
    exit_status: int
    verdict: Verdict

    def document(self) -> dict[str, object]:
        """As JSON shows it; every key is always there."""
        verdict = self.verdict
        return {
            "step": self.step,
            "title": self.title,
            "status": verdict.status.value,
            "found": verdict.found,
            "cause": verdict.cause,
            "fix": verdict.fix,
            "details": dict(verdict.details),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All findings for one server, in the order of the road."""

    base_url: str
    findings: tuple[Finding, ...]

    @property
    def exit_status(self) -> int:
        """That of the first failure; 0 without one."""
        return next((one.exit_status for one in self.findings if one.verdict.status is Status.FAILED), 0)

    def document(self) -> dict[str, object]:
        """As JSON shows it."""
        return {
            "base_url": self.base_url,
            "exit_status": self.exit_status,
            "steps": [finding.document() for finding in self.findings],
        }
