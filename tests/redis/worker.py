"""A process that renews a person's token again and again: python -m tests.redis.worker AUTHORITY CA REDIS KEY COUNT."""

from __future__ import annotations

import asyncio
import sys

from proxy.auth import SystemClock, redis_entries
from proxy.auth.authorities import Authority
from proxy.auth.entra import Entra
from proxy.auth.people import People
from proxy.auth.registration import Permission, registration
from proxy.auth.token_caches import personal_place
from proxy.config import ServerConfig
from proxy.sandbox.tenant import DESKTOP

from ..auth.conftest import BASE_URL


def unheard(line: str) -> None:
    raise AssertionError(line)


async def main(authority: str, ca_bundle: str, redis_url: str, key: str, count: str) -> None:
    config = ServerConfig.of(
        {
            "base_url": BASE_URL,
            "authority": authority,
            "client_id": DESKTOP.client_id,
            "ca_bundle": ca_bundle,
            "token_cache": redis_url,
            "token_cache_key": key,
        }
    )

    async def where() -> Authority:
        return Authority(authority, authority.rpartition("/")[2])

    redis_entries.LIMIT = 20.0  # a busy machine is no slow Redis
    clock = SystemClock()
    place = personal_place(config, clock, unheard)
    people = People(config)
    entra = Entra(where, registration(config, Permission.PERSON), clock, people=people, place=place)
    for _ in range(int(count)):
        await entra.renewed(force=True, was_refused=True)
        sys.stdout.write("renewed\n")
    entra.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
