from __future__ import annotations

from hypothesis import settings

# A loaded machine is slow; how long an example takes is no property of the code.
settings.register_profile("default", deadline=None)
settings.load_profile("default")
