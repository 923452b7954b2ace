"""What one server's settings give, and what is replaced when they change.

A Service is made from settings, opens nothing by itself, and ends when its last exchange has: its listener lives
on with the next one (`listening`). Its SignIn lives on too where the next settings sign in alike.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from .admin import Metrics, ServerWatch
from .auth import Authenticator, Seams, StorageAuthenticator, authenticator
from .client_limits import ClientLimits
from .config import ServerConfig
from .config.settings import SETTINGS, Setting
from .errors import ConfigError
from .local_key import read_local_key
from .model import BaseUrl, ResponseHead
from .pacing import Pacing
from .rules.exchange import ServerRules
from .rules.listener import Listener
from .sites import Running, Site, nothing_held
from .upstream import Timeouts, Upstream, tls_context, tunnel_for

REREAD = frozenset({"token_file", "federated_token_file", "client_secret_file"})
"""Files that are read anew for each token: one that was written again is no other sign-in."""


class SignIn:
    """Who is signed in to one server, and the connections by which the sign-in asks the server what it wants.

    Services that sign in alike (`key`) share one; the last of them closes it.
    """

    def __init__(
        self, config: ServerConfig, seams: Seams, own: Authenticator | None, metrics: Metrics | None
    ) -> None:
        self.key = sign_in_key(config, own)
        self.timeouts = _timeouts(config)
        self.upstream = _upstream(config, config.base_url)
        self._users = 0

        async def probe() -> ResponseHead:
            answer = await self.upstream.send(ServerRules.probe(config))
            answer.close()
            return answer.head

        seams = replace(seams, probe=probe)
        signing = own or authenticator(config, seams)
        self.storage = StorageAuthenticator(config, signing)
        self.watch = ServerWatch(
            config,
            signing,
            seams,
            metrics=metrics,
        )

    def share(self) -> None:
        """One user more."""
        self._users += 1

    async def hang_up(self) -> None:
        """Let nobody wait for a sign-in any more, unless another service goes on with it; a held token stays of use."""
        if self._users == 1:
            await self.watch.close()

    async def release(self) -> None:
        """One user less; after the last one nothing of it stays open."""
        self._users -= 1
        if not self._users:
            await self.storage.close()
            await self.watch.close()
            await self.upstream.close()


class Service:
    """One server by one set of settings; ConfigError tells all that cannot work.

    `own` is an Authenticator that has signed in already; it is closed with the sign-in. `before` is a service
    whose sign-in, connections and pauses are kept as far as the settings for them are the same. `traced` makes of
    its site one whose exchanges are traced.
    """

    key: bytes
    sign_in: SignIn
    pacing: Pacing

    def __init__(
        self,
        config: ServerConfig,
        seams: Seams,
        *,
        own: Authenticator | None = None,
        metrics: Metrics | None = None,
        before: Service | None = None,
        traced: Callable[[Site], Site] | None = None,
    ) -> None:
        self.config = config
        self._traced = traced
        self.running = Running()
        self._is_closed = False
        problems: list[ConfigError] = []
        with gathered(problems):
            self.key = read_local_key(config)
        with gathered(problems):
            kept = before.sign_in if before and before.sign_in.key == sign_in_key(config, own) else None
            self.sign_in = kept or SignIn(config, seams, own, metrics)
        if problems:
            raise ConfigError.joined(problems)
        self.sign_in.share()
        shares_connections = _timeouts(config) == self.sign_in.timeouts
        self.upstream = self.sign_in.upstream if shares_connections else _upstream(config, config.base_url)
        keeps_pauses = before is not None and _pauses(config) == _pauses(before.config)
        self.pacing = before.pacing if before and keeps_pauses else _pacing(config, seams)
        self._accounts = {
            account: (_upstream(config, BaseUrl.parse(f"https://{account}")), _pacing(config, seams))
            for account in config.export_storage
        }
        self.limits = ClientLimits(
            head=config.head_timeout,
            upload=config.upload_timeout,
            send=config.send_timeout,
            connections=config.max_connections,
        )

    def site(self, port: int) -> Site:
        """What its exchanges share, at the port that its listener got."""
        config = self.config
        listener = Listener.of(
            config.listen.host, port, config.allowed_hosts, config.allow_origins, key=self.key
        )
        rules, watch = ServerRules(config, listener), self.sign_in.watch
        site = Site(
            rules,
            watch,
            self.upstream,
            self.pacing,
            self.limits,
            watch.ledger,
            self.running,
            held=watch.held,
        )
        storage = self.sign_in.storage
        accounts = {
            account: replace(site, authenticator=storage, held=nothing_held, upstream=upstream, pacing=pacing)
            for account, (upstream, pacing) in self._accounts.items()
        }
        site = replace(site, accounts=accounts)
        return self._traced(site) if self._traced else site

    async def retire(self) -> None:
        """Close once the last exchange has ended."""
        await self.running.all_ended().wait()
        await self.close()

    async def close(self) -> None:
        """Close what no other service uses, with whatever runs on it."""
        if self._is_closed:
            return
        self._is_closed = True
        if self.upstream is not self.sign_in.upstream:
            await self.upstream.close()
        for upstream, _ in self._accounts.values():
            await upstream.close()
        await self.sign_in.release()


@contextmanager
def gathered(problems: list[ConfigError]) -> Iterator[None]:
    """Go on after a ConfigError, which is told later with all others."""
    try:
        yield
    except ConfigError as error:
        problems.append(error)


def sign_in_key(config: ServerConfig, own: Authenticator | None = None) -> tuple[object, ...]:
    """Equal for settings that sign in alike, at a server and by authorities that are the same.

    Where credentials come from an Authenticator of their `own`, it is that one alone that counts.
    """
    if own is not None:
        return (own,)
    settings = (setting for setting in SETTINGS.values() if setting.per_server)
    signing = (setting for setting in settings if setting.shown.group == "Sign-in")
    return tuple(
        _value(config, setting) for setting in (*signing, SETTINGS["base_url"], SETTINGS["ca_bundle"])
    )


def _value(config: ServerConfig, setting: Setting) -> object:
    """A setting's value; of a file that is read once, its state as well."""
    value = getattr(config, setting.key)
    if not (value and setting.shown.names_file) or setting.key in REREAD:
        return value
    with suppress(OSError):
        found = os.stat(value)
        return value, found.st_ino, found.st_size, found.st_mtime_ns
    return value


def _pauses(config: ServerConfig) -> tuple[object, ...]:
    return config.base_url, config.retry, config.retry_wait


def _timeouts(config: ServerConfig) -> Timeouts:
    return Timeouts(connect=config.connect_timeout, read=config.read_timeout)


def _pacing(config: ServerConfig, seams: Seams) -> Pacing:
    return Pacing(seams.clock, config.retry_wait if config.retry == "on" else None)


def _upstream(config: ServerConfig, base: BaseUrl) -> Upstream:
    """The connections to one server; none is opened yet."""
    return Upstream(
        base,
        tls=tls_context(config.ca_bundle) if base.scheme == "https" else None,
        tunnel=tunnel_for(base, os.environ),
        timeouts=_timeouts(config),
    )
