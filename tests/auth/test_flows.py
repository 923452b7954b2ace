from __future__ import annotations

import pytest

from proxy.auth.flows import CodeFlow, DeviceFlow


@pytest.mark.parametrize(("raw", "expected"), [(5, 5.0), (0, 0.0), ("x", 5.0), (None, 5.0)])
def test_interval_is_a_number_of_seconds(raw: object, expected: float) -> None:
    flow = DeviceFlow("https://login.example/device", "ABC", "message", 900, {"interval": raw})

    assert flow.interval == expected


def test_what_could_complete_a_sign_in_does_not_print() -> None:
    code = CodeFlow("https://x/?state=visible", "visible", {"code_verifier": "visible"})
    device = DeviceFlow("https://x", "ABC", "message", 900, {"device_code": "visible"})

    assert "visible" not in repr(code) + repr(device)
