from __future__ import annotations

from .soak import SETTLED, run


async def test_nothing_is_wrong_and_nothing_is_left_after_a_while_of_everything() -> None:
    soak, samples, left = await run(4, 1)

    assert soak.wrong == []
    assert {"read", "search", "upload", "fetch_all", "leave", "leave_upload"} <= set(soak.outcomes)
    assert soak.outcomes["told"] + soak.outcomes["cut"] < soak.outcomes.total() / 2
    assert max(sample.files for sample in samples) < 200
    assert left.tasks <= SETTLED
    assert left.tools == 0
