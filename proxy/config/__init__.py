"""Text -> Config, or ConfigError that names every key that is wrong.

One field here is one setting everywhere: the flag `--token-file`, the environment variable
`FHIR_AUTH_PROXY_TOKEN_FILE`, the key `token_file` of the TOML file, its row in docs/settings.md and in the
JSON Schema. This package reads no file and no environment: it is handed what was found there.

`reading` reads what is plain, `values` what a setting has of its own, `settings` holds the models, `layers` names where
values come from, `resolve` puts them together, `checks` compares settings with one another, `documents` describes them.
"""

from __future__ import annotations

from .settings import AuthMethod, Config, ServerConfig
from .values import ListenAddress

__all__ = ["AuthMethod", "Config", "ListenAddress", "ServerConfig"]
