"""Mixed traffic for as long as told, with faults all along: every answer is right or honest, and nothing grows.

    python -m tests.attacks.soak --minutes 10

Tools read, search page by page, upload, fetch large answers and leave in the middle, while the link to the server
breaks, the server throttles, refuses tokens and cuts answers, and tokens expire every few seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from time import monotonic

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector

from proxy.sandbox import Sandbox
from proxy.sandbox.fhir.faults import THROTTLED, Answer, Cut, RejectToken
from proxy.sandbox.tenant import SECRET, SERVICE
from proxy.sandbox.tenant.faults import Lifetime

from ..fakes.fault_link import Act, Fault, FaultLink, Way, fault_link
from .sampled import Sample, SampledProxy, sampled_proxy

TOOLS = 12
PATIENTS = 300
LARGE = 400_000
"""Characters of an upload: more than the proxy holds."""

LIFETIME = 6.0
"""Seconds that a token lives: a new one is due after half of them."""

HONEST = frozenset({401, 429, 500, 502, 503, 504})
"""Statuses by which a fault may be told."""

SERVER_FAULTS = (
    THROTTLED,
    Answer(
        500, (("Content-Type", "application/fhir+json"),), b'{"resourceType":"OperationOutcome","issue":[]}'
    ),
    Cut(5000),
)
REFUSAL_EVERY = 80
"""Faults from one refused token to the next: a second one within 30 s is taken for a server that trusts nobody."""

LINK_FAULTS = (Act.RESET, Act.CUT, Act.HALF_CLOSE)

SETTLED = 4
"""Tasks of the proxy that may be left once all tools have gone."""

GROWTH = 12 * 1024 * 1024
"""Bytes by which memory may be more in the last quarter than in the second one: the allocator's own waves."""


class Honest(Exception):
    """A fault was told as one."""


@dataclass
class Soak:
    """Tools at work; what came of it."""

    sandbox: Sandbox
    url: str
    seed: int = 0
    over: bool = False
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    _number: int = 0

    async def tool(self, seed: int) -> None:
        """One tool, until it is over; it opens its connections anew now and then."""
        chance = random.Random(seed)
        actions = (
            self.read,
            self.read,
            self.search,
            self.upload,
            self.fetch_all,
            self.leave,
            self.leave_upload,
        )
        while not self.over:
            connector = TCPConnector(limit=4)
            async with ClientSession(connector=connector, timeout=ClientTimeout(60)) as session:
                for _ in range(20):
                    if not self.over:
                        await self._count(chance.choice(actions), session, chance)

    async def _count(
        self,
        action: Callable[[ClientSession, random.Random], Awaitable[None]],
        session: ClientSession,
        chance: random.Random,
    ) -> None:
        try:
            await action(session, chance)
        except Honest:
            self.outcomes["told"] += 1
        except (ClientError, ConnectionError):
            self.outcomes["cut"] += 1
        except (AssertionError, LookupError, ValueError, TimeoutError) as error:
            self.wrong.append(f"{action.__name__}: {error!r}")
        else:
            self.outcomes[action.__name__] += 1

    async def read(self, session: ClientSession, chance: random.Random) -> None:
        """One patient, who is the one that was asked for."""
        id_ = chance.choice(self.patients)
        async with session.get(f"{self.url}/Patient/{id_}") as answer:
            patient = await document(answer)
        assert json.loads(self.sandbox.fhir.stored("Patient", id_))["name"] == patient["name"]
        assert id_ == patient["id"]

    async def search(self, session: ClientSession, chance: random.Random) -> None:
        """A few pages, by links that lead to the proxy, without a patient who comes twice."""
        seen: list[str] = []
        url = f"{self.url}/Patient?_count={chance.choice((7, 20, 50))}"
        for _ in range(3):
            async with session.get(url) as answer:
                bundle = await document(answer)
            seen += [entry["resource"]["id"] for entry in bundle["entry"]]
            assert all(entry["fullUrl"].startswith(f"{self.url}/Patient/") for entry in bundle["entry"])
            url = next(link["url"] for link in bundle["link"] if link["relation"] == "next")
            assert url.startswith(self.url)
        assert len(seen) == len(set(seen))

    async def upload(self, session: ClientSession, chance: random.Random) -> None:
        """What was stored is what was sent; it is deleted again."""
        self._number += 1
        text = f"{self._number} " * chance.choice((1, LARGE // 6))
        body = {"resourceType": "Observation", "note": [{"text": text}]}
        async with session.post(
            f"{self.url}/Observation",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/fhir+json"},
        ) as answer:
            stored = await document(answer, 201)
        url = f"{self.url}/Observation/{stored['id']}"
        async with session.get(url) as answer:
            assert text == (await document(answer))["note"][0]["text"]
        async with session.delete(url) as answer:
            await document(answer, 204)

    async def fetch_all(self, session: ClientSession, chance: random.Random) -> None:
        """A large answer, whole."""
        async with session.get(f"{self.url}/Patient?_count={PATIENTS}") as answer:
            bundle = await document(answer)
        assert sorted(self.patients) == sorted(entry["resource"]["id"] for entry in bundle["entry"])

    async def leave(self, session: ClientSession, chance: random.Random) -> None:
        """Hang up in the middle of a large answer."""
        async with session.get(f"{self.url}/Patient?_count={PATIENTS}") as answer:
            await answer.content.read(chance.choice((1, 1000, 50_000)))
            answer.close()

    async def leave_upload(self, session: ClientSession, chance: random.Random) -> None:
        """Hang up in the middle of an upload: nothing of it may be stored."""
        self._number += 1
        marker = f"torn-{self._number}"

        async def pieces() -> AsyncIterator[bytes]:
            yield b'{"resourceType":"Observation","id":"%b","note":[{"text":"' % marker.encode()
            yield b"x" * chance.choice((10, LARGE))
            raise ConnectionAbortedError("the tool leaves")

        try:
            async with session.put(
                f"{self.url}/Observation/{marker}",
                data=pieces(),
                headers={"Content-Type": "application/fhir+json"},
            ) as answer:
                assert answer.status in {*HONEST, 400}, f"{answer.status} for an upload that broke off"
        except (ClientError, ConnectionError):
            return

    @property
    def patients(self) -> list[str]:
        return [f"patient-{number:04}" for number in range(1, PATIENTS + 1)]


async def document(answer: ClientResponse, status: int = 200) -> dict:  # type: ignore[type-arg]
    """The resource that came with this status; Honest where a fault is told instead."""
    body = await answer.read()
    if answer.status in HONEST:
        assert b"OperationOutcome" in body or b"throttled" in body
        raise Honest
    assert status == answer.status, f"{answer.status} in place of {status}"
    return json.loads(body) if body else {}  # type: ignore[no-any-return]


async def weather(sandbox: Sandbox, link: FaultLink, soak: Soak) -> None:
    """Faults, one after the other, and calm between them."""
    chance = random.Random(soak.seed)
    for number in count(1):
        if soak.over:
            return
        if number % REFUSAL_EVERY == 0:
            sandbox.fhir.faults.append(RejectToken())
        elif chance.random() < 0.5:
            sandbox.fhir.faults.append(chance.choice(SERVER_FAULTS))
        else:
            way = chance.choice((Way.UP, Way.DOWN))
            link.fault = Fault(chance.choice(LINK_FAULTS), way, chance.choice((0, 100, 3000, 100_000)))
            await asyncio.sleep(chance.random() / 4)
            link.fault = None
        await asyncio.sleep(chance.random())


@asynccontextmanager
async def soaking(seed: int = 0) -> AsyncIterator[tuple[Soak, SampledProxy, FaultLink]]:
    """A sandbox, a link, and a proxy in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        ca_file = Path(folder) / "ca.pem"
        async with Sandbox(patients=PATIENTS) as sandbox:
            ca_file.write_bytes(sandbox.tenant.ca_pem)
            sandbox.tenant.faults.always(Lifetime(LIFETIME))
            async with (
                fault_link(int(sandbox.fhir.base_url.rpartition(":")[2])) as link,
                sampled_proxy(
                    base_url=f"http://127.0.0.1:{link.port}",
                    audience=sandbox.fhir.base_url,
                    auth="client-secret",
                    authority=sandbox.tenant.authority,
                    client_id=SERVICE.client_id,
                    client_secret=SECRET,
                    ca_bundle=str(ca_file),
                    read_timeout=20,
                ) as proxy,
            ):
                yield Soak(sandbox, proxy.url, seed), proxy, link


async def run(seconds: float, every: float, seed: int = 0) -> tuple[Soak, list[Sample], Sample]:
    """Soak for so long; what came of it, samples meanwhile, and what was left when all tools had gone."""
    async with soaking(seed) as (soak, proxy, link), asyncio.TaskGroup() as working:
        for number in range(TOOLS):
            working.create_task(soak.tool(seed + number))
        working.create_task(weather(soak.sandbox, link, soak))
        samples = []
        until = monotonic() + seconds
        while monotonic() < until:
            await asyncio.sleep(min(every, max(until - monotonic(), 0)))
            samples.append(await proxy.sample())
            soak.sandbox.fhir.requests.clear()
        soak.over = True
        left = await proxy.sample()
        async with asyncio.timeout(90):
            while left.tools or left.tasks > SETTLED:
                await asyncio.sleep(0.1)
                left = await proxy.sample()
    return soak, samples, left


def grown(samples: list[Sample]) -> int:
    """Bytes of memory by which the last quarter is above the second one."""
    quarter = len(samples) // 4
    before = median(sample.resident for sample in samples[quarter : 2 * quarter])
    return int(median(sample.resident for sample in samples[-quarter:]) - before)


def main() -> None:
    """Soak and print a table; the exit status says whether all was well."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    seconds = arguments.minutes * 60
    logging.disable()  # The sandbox tells of each request that breaks off.
    soak, samples, left = asyncio.run(run(seconds, seconds / 40, arguments.seed))
    lines = ["minute  resident MB  files  tasks  tools  upstream"]
    for number, sample in enumerate((*samples, left), 1):
        minute = f"{arguments.minutes * number / len(samples):6.2f}" if sample is not left else " after"
        lines.append(
            f"{minute}  {sample.resident / 1e6:11.1f}  {sample.files:5}  {sample.tasks:5}  {sample.tools:5}"
            f"  {sample.upstream:8}"
        )
    lines += [", ".join(f"{name}: {count}" for name, count in sorted(soak.outcomes.items()))]
    lines += [f"tokens: {len(soak.sandbox.tenant.token_requests)}, growth: {grown(samples) / 1e6:.1f} MB"]
    lines += [f"wrong: {len(soak.wrong)}", *soak.wrong[:20]]
    print("\n".join(lines))  # noqa: T201
    if soak.wrong or grown(samples) > GROWTH:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
