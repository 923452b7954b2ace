"""Entries and locks in Redis, or in what speaks its protocol, such as Valkey.

The redis client is an optional extra, imported where it is first needed. It blocks, and no time limit of a socket
covers a name that is looked up or an answer that drips: so each call has a thread of its own and is left behind
when it takes too long. After that, nothing is asked for a while, and the next call tries anew: a request waits for
a Redis that is down once every few seconds, and for less than a second.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from importlib.util import find_spec
from threading import Thread
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

from ..errors import ConfigError
from .shared import Unavailable

if TYPE_CHECKING:
    import redis

LIMIT = 0.4
"""Seconds for one call. Obtaining a token takes three: look, take the turn, store; the first that fails is the last."""

PAUSE = 5.0
"""Seconds for which nothing is asked of a Redis that did not answer."""

PORT = 6379

_Result = TypeVar("_Result")

# Redis runs a script as one step (https://redis.io/docs/latest/develop/programmability/eval-intro/).
# KEYS: the entry, its lock. ARGV[1]: the holder.
_TAKE = """
local holder = redis.call('GET', KEYS[2])
local is_ours = (not holder) or holder == ARGV[1]
if is_ours then redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2]) end
return {is_ours and 1 or 0, redis.call('GET', KEYS[1])}
"""
_EXTEND = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[2], ARGV[2])
"""
_RELEASE = """
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return 1
"""
_STORE = """
local entry = redis.call('GET', KEYS[1])
local is_free = (not entry) or entry == ARGV[3]
    or (ARGV[2] ~= '' and string.sub(entry, 1, #ARGV[2]) == ARGV[2])
if is_free then redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return is_free and 1 or 0
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where a Redis is, and who we are there."""

    host: str
    port: int
    database: int
    username: str
    password: str = field(repr=False)
    has_tls: bool

    @classmethod
    def of(cls, url: str) -> RedisAddress:
        """Read `redis://` or `rediss://[user[:password]@]host[:port][/database]`, which the settings have checked."""
        parts = urlsplit(url)
        return cls(
            parts.hostname or "",
            parts.port or PORT,
            int(parts.path.strip("/") or 0),
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            parts.scheme == "rediss",
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis{'s' if self.has_tls else ''}://{host}:{self.port}/{self.database}"


class RedisEntries:
    """Entries in one database of one Redis. What goes wrong is told in the log, once until it is over."""

    def __init__(self, address: RedisAddress, ca_bundle: str) -> None:
        self._address = address
        self._client = _client(address, ca_bundle)
        self._silent_until = 0.0
        self._troubles: set[str] = set()
        self._is_closed = False

    def read(self, name: str) -> bytes | None:
        """The entry; None where there is none."""
        answer = self._asked("read", lambda client: client.get(_keys(name)[0]))
        return answer if isinstance(answer, bytes) else None

    def take(self, name: str, holder: str, lease: float) -> tuple[bool, bytes | None]:
        """Take the lock for some seconds, where it is free or the holder's own; whether it is now, and the entry."""
        answer = self._run(_TAKE, name, holder, _milliseconds(lease))
        if not isinstance(answer, list):
            raise Unavailable("answers something else")
        # Lua ends an array at what is not there.
        return answer[0] == 1, answer[1] if len(answer) > 1 else None

    def extend(self, name: str, holder: str, lease: float) -> bool:
        """Begin the seconds anew; False where the lock is not the holder's any more."""
        return self._run(_EXTEND, name, holder, _milliseconds(lease)) == 1

    def store(self, name: str, holder: str, mark: bytes, entry: bytes, life: float) -> bool:
        """Put an entry where there is none or the one that begins with the mark, and give the lock back."""
        return self._run(_STORE, name, holder, mark, entry, _milliseconds(life)) == 1

    def release(self, name: str, holder: str) -> None:
        """Give the lock back, if it is still the holder's."""
        self._run(_RELEASE, name, holder)

    def close(self) -> None:
        """Close the connections; a call that hangs is left to itself."""
        self._is_closed = True
        self._client.close()

    def _run(self, script: str, name: str, *arguments: bytes | str | int) -> object:
        return self._asked("write", lambda client: client.eval(script, 2, *_keys(name), *arguments))

    def _asked(self, kind: str, ask: Callable[[redis.Redis], _Result]) -> _Result:
        """The answer, in time; Unavailable otherwise. `kind` is what a Redis may refuse while it does the other."""
        import redis  # noqa: PLC0415  an optional extra

        if self._is_closed or time.monotonic() < self._silent_until:
            raise Unavailable("is not asked again so soon")
        try:
            answer = _in_time(lambda: ask(self._client), LIMIT)
        except redis.ResponseError as error:  # it answers, and does not do it
            raise self._unavailable(kind, _refusal(error)) from None
        except (redis.RedisError, OSError) as error:  # TimeoutError is an OSError, Redis' own is not
            self._silent_until = time.monotonic() + PAUSE
            raise self._unavailable("reach", _failure(error)) from None
        if not self._troubles.isdisjoint({kind, "reach"}):
            self._troubles -= {kind, "reach"}
            _log.info("The token cache %s works again", self._address)
        return answer

    def _unavailable(self, kind: str, words: str) -> Unavailable:
        """The error, which is told if it is new."""
        if kind not in self._troubles and not self._is_closed:
            _log.warning(
                "The token cache %s %s. Until that is over, this process renews its tokens by itself.",
                self._address,
                words,
            )
        self._troubles.add(kind)
        return Unavailable(words)


def require_client() -> None:
    """Raise ConfigError where the redis client is not installed."""
    if find_spec("redis") is None:
        raise ConfigError(
            "token_cache names a Redis, and its client is not installed",
            hint="Install it beside the proxy: pip install 'fhir-auth-proxy[redis]' (pipx inject fhir-auth-proxy "
            "redis, where pipx installed it).",
        )


def _client(address: RedisAddress, ca_bundle: str) -> redis.Redis:
    require_client()
    import redis  # noqa: PLC0415  an optional extra, and it takes 0.1 s
    from redis.backoff import NoBackoff  # noqa: PLC0415  the same
    from redis.retry import Retry  # noqa: PLC0415  the same

    return redis.Redis(
        host=address.host,
        port=address.port,
        db=address.database,
        username=address.username or None,
        password=address.password or None,
        socket_connect_timeout=LIMIT,
        socket_timeout=LIMIT,
        # A connection that lay idle may have been closed: once more on a new one. All calls may come twice.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        protocol=2,
        ssl=address.has_tls,
        ssl_ca_certs=ca_bundle or None,
        ssl_min_version=ssl.TLSVersion.TLSv1_2,
    )


def _in_time(ask: Callable[[], _Result], seconds: float) -> _Result:
    outcome: Future[_Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(ask())
        except BaseException as error:  # noqa: BLE001  it is not ended here but moved to who waits
            outcome.set_exception(error)

    Thread(target=run, name="redis", daemon=True).start()
    return outcome.result(seconds)


def _keys(name: str) -> tuple[str, str]:
    """The keys of an entry and of its lock; what stands in braces puts both into one slot of a cluster."""
    return f"fhir-auth-proxy:{{{name}}}", f"fhir-auth-proxy:{{{name}}}:lock"


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _refusal(error: redis.ResponseError) -> str:
    """In words: the first of an answer's own is its code, such as OOM, READONLY, NOPERM."""
    code = str(error).partition(" ")[0]
    return f"refuses a command ({code})" if code.isalpha() and code.isupper() else "refuses a command"


def _failure(error: Exception) -> str:
    """In words; of foreign text only what the system says, since an address may hold a password."""
    import redis  # noqa: PLC0415  an optional extra

    if isinstance(error, redis.AuthenticationError):
        return "does not take the password"
    if isinstance(error, redis.TimeoutError | TimeoutError):
        return "does not answer in time"
    cause = error if isinstance(error, OSError) else error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"has a certificate that is not trusted here ({cause.verify_message}); ca_bundle names authorities"
    if isinstance(cause, OSError) and cause.strerror:
        return f"cannot be reached ({cause.strerror})"
    return "cannot be reached"
