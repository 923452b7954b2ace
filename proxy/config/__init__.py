"""Text -> Config, or ConfigError that names every key that is wrong.

One field here is one setting everywhere: the flag `--token-file`, the environment variable
`FHIR_AUTH_PROXY_TOKEN_FILE`, the key `token_file` of the TOML file, its row in docs/settings.md and in the
JSON Schema. This package reads no file and no environment: it is handed what was found there.

`kinds` and `values` read single values, `models` whole tables of them, `server_settings` and `settings` say which
there are, `layers` names where values come from, `resolve` puts them together, `checks` compares settings with one
another, `documents` describes them.
"""

from __future__ import annotations

from .server_settings import AuthMethod, ServerConfig
from .settings import Config
from .values import ListenAddress

__all__ = ["AuthMethod", "Config", "ListenAddress", "ServerConfig"]
