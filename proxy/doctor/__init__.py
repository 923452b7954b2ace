"""The doctor: walks the road that a request takes, and gives one verdict a step.

`STEPS` is the road; a step is a function over the immutable `state.State` in the file of its stretch::

    road.py          settings, name, TCP, TLS
    certificates.py  who signed a certificate, and whether that is a public authority
    visit.py         a connection that is opened to be looked at
    answers.py       what the server says before a sign-in: of itself, of the sign-in, of the time
    identity.py      who signs in, with what token, and what the server does with it
    local.py         links through a real proxy, the listener and its guards
    storage.py       the accounts that files of exports lie in
    asking.py        one question, one answer
    verdicts.py      Verdict, Finding, Report

It needs no running proxy, uses the pieces that `run` is made of, and changes nothing on the server. A step that
fails keeps those from running that need it, and no other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..auth import Seams
from ..config import ServerConfig
from ..errors import ConfigError, ProxyError
from . import answers, identity, local, road, storage
from .state import State, Step
from .verdicts import FORMAT, Finding, Report, Status, Verdict, failed, skipped

__all__ = ["FORMAT", "ROAD", "Finding", "Report", "Status", "Verdict", "examine", "unreadable"]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A step of the road: its name, its exit status when it is the first to fail, what it needs."""

    name: str
    title: str
    exit_status: int
    step: Step
    advice: str
    """The way out for a failure that knows none itself."""
    needs: tuple[str, ...] = ()


ROAD = (
    Stretch("configuration", "Configuration", 2, road.configuration, "Compare with `config show`."),
    Stretch("name", "Name resolution", 10, road.name, "Check the base URL's host."),
    Stretch(
        "connection", "Connection", 11, road.connection, "Check firewall, VPN and HTTPS_PROXY.", ("name",)
    ),
    Stretch("tls", "TLS", 12, road.tls, "Check --ca-bundle and HTTPS_PROXY.", ("connection",)),
    Stretch("metadata", "/metadata", 13, answers.metadata, answers.WRONG_BASE, ("tls",)),
    Stretch("challenge", "Unauthenticated read", 14, answers.challenge, answers.WRONG_BASE, ("tls",)),
    Stretch(
        "sign-in", "Sign-in", 15, identity.sign_in, "Check --tenant and --client-id.", ("configuration",)
    ),
    Stretch("token", "Token", 16, identity.token, "Check --audience.", ("sign-in",)),
    Stretch("read", "Authenticated read", 17, identity.read, answers.WRONG_BASE, ("tls", "sign-in")),
    Stretch("links", "Links of a page", 18, local.links, "Check --alias.", ("read",)),
    Stretch("clock", "Clock", 19, answers.clock, "Set this machine's clock."),
    Stretch("listener", "Local listener", 20, local.listener, "Take another port with --listen."),
    Stretch("storage", "Storage accounts", 21, storage.accounts, "Check --export-storage."),
)
"""The road in its order. Exit statuses are documented in the README and never change their meaning."""


async def examine(config: ServerConfig, seams: Seams, show: Callable[[Finding], None]) -> Report:
    """Walk the road to one server; `show` is told each finding as soon as it is there."""
    state = State(config, seams)
    findings: dict[str, Finding] = {}
    try:
        for stretch in ROAD:
            state, verdict = await _verdict(stretch, state, findings)
            finding = Finding(stretch.name, stretch.title, stretch.exit_status, verdict)
            findings[stretch.name] = finding
            show(finding)
    finally:
        if state.authenticator is not None:
            await state.authenticator.close()
    return Report(str(config.base_url), tuple(findings.values()))


def unreadable(error: ConfigError) -> Report:
    """The report for settings that cannot be read: there is no road to walk."""
    first, *others = ROAD
    verdicts = [failed(error, first.advice), *(skipped(f"{first.title} has to work first") for _ in others)]
    findings = (
        Finding(stretch.name, stretch.title, stretch.exit_status, verdict)
        for stretch, verdict in zip(ROAD, verdicts, strict=True)
    )
    return Report("", tuple(findings))


async def _verdict(stretch: Stretch, state: State, findings: dict[str, Finding]) -> tuple[State, Verdict]:
    missing = [findings[need] for need in stretch.needs if not findings[need].verdict.lets_others_go_on]
    if missing:
        return state, skipped(f"{missing[0].title} has to work first")
    try:
        return await stretch.step(state)
    except ProxyError as error:
        return state, failed(error, stretch.advice)
