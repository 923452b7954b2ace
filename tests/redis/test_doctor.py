from __future__ import annotations

from pathlib import Path

from proxy.sandbox import Sandbox

from ..doctor.walking import OK, WARNING, app, settled, walked
from .server import RedisServer
from .test_replicas import KEY


async def test_doctor_asks_the_token_cache(redis_server: RedisServer, tmp_path: Path, patience: None) -> None:
    async with settled(Sandbox(patients=1)) as sandbox:
        config = app(sandbox, tmp_path, token_cache=redis_server.url, token_cache_key=KEY)
        working = (await walked(config))["configuration"].verdict
        redis_server.stop()
        broken = (await walked(config))["configuration"].verdict

    assert working.status is OK
    assert (broken.status, broken.cause) == (
        WARNING,
        f"The token cache {redis_server.url}/0 cannot be reached (Connection refused).",
    )
