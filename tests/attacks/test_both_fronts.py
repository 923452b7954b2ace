"""A sample of the attacks on each front: those before which the fast one hands over, and those that it answers."""

from __future__ import annotations

import pytest

from .ground import HEALTHY, OK, SEARCH, assert_carried, assert_refused, get, ground, head, post
from .test_browser import HOSTS, ORIGINS, SITES, TARGETS
from .test_framing import AMBIGUOUS, EVIL, LINES, SMUGGLED
from .test_policies import WRITES

EACH = 8
"""Of each table one attack in so many: all of them twice would take minutes."""

REFUSED = [
    *((get(host=line), status) for line, status in HOSTS[::EACH]),
    *((get(target), 400) for target in TARGETS[::EACH]),
    *((post(b"Content-Type: text/plain", b"Origin: " + origin), 403) for origin in ORIGINS[::EACH]),
    *((get(b"/Patient?name=%x", line), 403) for line in SITES[::EACH]),
    *((head(b"POST", b"/Patient", lines) + SMUGGLED, 400) for lines in AMBIGUOUS[::EACH]),
    *((get(b"/Patient?name=%x", line), 400) for line in LINES[::EACH]),
]

pytestmark = pytest.mark.parametrize("front", ["fast", "aiohttp"])


@pytest.mark.parametrize(("request_bytes", "status"), REFUSED, ids=repr)
async def test_attack_reaches_no_one(request_bytes: bytes, status: int, front: str) -> None:
    await assert_refused(request_bytes, status, front=front)


@pytest.mark.parametrize("request_bytes", WRITES[::EACH], ids=range(len(WRITES[::EACH])))
async def test_read_only_proxy_writes_nothing(request_bytes: bytes, front: str) -> None:
    await assert_refused(request_bytes, 403, 405, front=front, policy="read-only")


async def test_request_is_carried(front: str) -> None:
    await assert_carried(get(), SEARCH, front=front)


@pytest.mark.parametrize("surplus", EVIL[::EACH], ids=repr)
async def test_surplus_that_comes_with_an_answer_is_nobodys(surplus: bytes, front: str) -> None:
    async with ground(OK + surplus, front=front) as here:
        answers = await here.ask(get())

        assert [(answer.status, answer.body) for answer in answers] == [(200, b"ok")]
        assert await here.is_healthy()
        assert here.upstream.requests[-1].target == HEALTHY
