from __future__ import annotations

import tomllib
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.layers import Layer, environment_layers, file_layer, flag_layer
from proxy.config.resolve import Effective, Row, resolve
from proxy.config.settings import SETTINGS, Config
from proxy.errors import ConfigError

URL = "https://fhir.example.org/r4"
FOLDER = PurePosixPath("/etc/fhir")


def settle(
    toml: str = "", environment: dict[str, str] | None = None, flags: dict[str, object] | None = None
) -> Effective:
    azure, own = environment_layers(environment or {})
    return resolve([azure, file_layer(tomllib.loads(toml), "c.toml", FOLDER), own, flag_layer(flags or {})])


def problems(
    toml: str = "", environment: dict[str, str] | None = None, flags: dict[str, object] | None = None
) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        settle(toml, environment, flags)
    return raised.value.message.splitlines()


def source(effective: Effective, key: str, number: int = 0) -> str:
    rows = [*effective.process_rows(), *effective.server_rows(number)]
    return next(row.source for row in rows if row.key == key)


# --- which layer counts ---

TENANT_FLAG = {"tenant": "flag.example"}
TENANT_OWN = {"FHIR_AUTH_PROXY_TENANT": "own.example"}
TENANT_AZURE = {"AZURE_TENANT_ID": "azure.example"}
TENANT_FILE = 'tenant = "file.example"'

PRECEDENCE = [
    ("", {}, {}, "", "default"),
    ("", TENANT_AZURE, {}, "azure.example", "environment AZURE_TENANT_ID"),
    (TENANT_FILE, TENANT_AZURE, {}, "file.example", "file c.toml"),
    (TENANT_FILE, TENANT_AZURE | TENANT_OWN, {}, "own.example", "environment FHIR_AUTH_PROXY_TENANT"),
    (TENANT_FILE, TENANT_AZURE | TENANT_OWN, TENANT_FLAG, "flag.example", "flag --tenant"),
    # an empty variable says nothing, an empty value elsewhere means the default
    (TENANT_FILE, {"FHIR_AUTH_PROXY_TENANT": ""}, {}, "file.example", "file c.toml"),
    (TENANT_FILE, {}, {"tenant": ""}, "", "default"),
    ('tenant = ""', TENANT_AZURE, {}, "", "default"),
]


@pytest.mark.parametrize(("toml", "environment", "flags", "expected", "where"), PRECEDENCE)
def test_stronger_layer_counts_and_is_named(
    toml: str, environment: dict[str, str], flags: dict[str, object], expected: str, where: str
) -> None:
    effective = settle(f'base_url = "{URL}"\n{toml}', environment, flags)

    assert (expected, where) == (effective.config.servers[0].tenant, source(effective, "tenant"))


AZURE_NAMES = [
    ("AZURE_TENANT_ID", "t.example", "tenant", "t.example"),
    ("AZURE_CLIENT_ID", "an-id", "client_id", "an-id"),
    (
        "AZURE_AUTHORITY_HOST",
        "https://login.microsoftonline.us/",
        "authority_host",
        "login.microsoftonline.us",
    ),
]


@pytest.mark.parametrize(("name", "value", "key", "expected"), AZURE_NAMES)
def test_azure_variable_is_read(name: str, value: str, key: str, expected: str) -> None:
    effective = settle(environment={name: value}, flags={"base_url": URL})

    assert expected == getattr(effective.config.servers[0], key)


def test_azure_client_secret_is_read() -> None:
    server = settle(environment={"AZURE_CLIENT_SECRET": "s"}, flags={"base_url": URL}).config.servers[0]

    assert server.client_secret is not None
    assert server.client_secret.value == "s"


SPELLINGS = [
    ({"FHIR_AUTH_PROXY_ALIASES": "https://a, https://b/c ,"}, "aliases", ["https://a", "https://b/c"]),
    (
        {"FHIR_AUTH_PROXY_EXPORT_STORAGE": "A.blob.core.windows.net,b.example:443,localhost:10000"},
        "export_storage",
        ["a.blob.core.windows.net", "b.example", "localhost:10000"],
    ),
    ({"FHIR_AUTH_PROXY_ALLOW_REMOTE": "true"}, "allow_remote", True),
    ({"FHIR_AUTH_PROXY_ALLOW_REMOTE": "0"}, "allow_remote", False),
    ({"FHIR_AUTH_PROXY_LISTEN": "8081"}, "listen", "localhost:8081"),
    ({"FHIR_AUTH_PROXY_READ_TIMEOUT": "1.5"}, "read_timeout", 1.5),
    ({"FHIR_AUTH_PROXY_TOKEN_FILE": "a/b"}, "token_file", "a/b"),
]


@pytest.mark.parametrize(("environment", "key", "expected"), SPELLINGS)
def test_text_of_the_environment_is_read(environment: dict[str, str], key: str, expected: object) -> None:
    effective = settle(environment=environment, flags={"base_url": URL})

    assert expected == effective.config.servers[0].plain()[key]


def test_flags_that_were_not_given_say_nothing() -> None:
    effective = settle(f'base_url = "{URL}"\naliases = ["https://a"]', flags={"aliases": (), "tenant": None})

    assert source(effective, "aliases") == "file c.toml"


def test_files_named_in_a_file_lie_beside_it() -> None:
    effective = settle(f'base_url = "{URL}"\ntoken_file = "s/token"\nca_bundle = "/ca.pem"')

    server = effective.config.servers[0]
    assert (server.token_file, server.ca_bundle) == ("/etc/fhir/s/token", "/ca.pem")


KUBERNETES = [
    "FHIR_AUTH_PROXY_SERVICE_HOST",
    "FHIR_AUTH_PROXY_SERVICE_PORT",
    "FHIR_AUTH_PROXY_SERVICE_PORT_HTTP",
    "FHIR_AUTH_PROXY_PORT",
    "FHIR_AUTH_PROXY_PORT_8080_TCP",
    "FHIR_AUTH_PROXY_PORT_8080_TCP_ADDR",
]


@pytest.mark.parametrize("name", [*KUBERNETES, "FHIR_AUTH_PROXY_CONFIG", "AZURE_USERNAME", "HOME"])
def test_variable_that_is_no_setting_is_left_alone(name: str) -> None:
    effective = settle(environment={name: "tcp://10.0.0.1:80"}, flags={"base_url": URL})

    assert {"default", "argument BASE_URL"} == {row.source for row in effective.server_rows(0)}


# --- two ways to say one thing ---

ALTERNATIVES = [
    ('token_file = "/f"', {"FHIR_AUTH_PROXY_TOKEN": "t"}, {}, ("token", "environment FHIR_AUTH_PROXY_TOKEN")),
    (
        'token = "t"',
        {"FHIR_AUTH_PROXY_TOKEN_FILE": "/f"},
        {},
        ("token_file", "environment FHIR_AUTH_PROXY_TOKEN_FILE"),
    ),
    ('client_secret_file = "/f"', {"AZURE_CLIENT_SECRET": "s"}, {}, ("client_secret_file", "file c.toml")),
    ("", {"FHIR_AUTH_PROXY_TOKEN": "t"}, {"token_file": "/f"}, ("token_file", "flag --token-file")),
    ("", {"AZURE_AUTHORITY_HOST": "h"}, {"authority": "https://a/t"}, ("authority", "flag --authority")),
]


@pytest.mark.parametrize(("toml", "environment", "flags", "expected"), ALTERNATIVES)
def test_stronger_layer_takes_the_place_of_its_alternative(
    toml: str, environment: dict[str, str], flags: dict[str, object], expected: tuple[str, str]
) -> None:
    effective = settle(toml, environment, {"base_url": URL, **flags})

    given = [(row.key, row.source) for row in effective.server_rows(0) if row.source != "default"]
    assert [("base_url", "argument BASE_URL"), expected] == given


def test_server_takes_the_place_of_what_stands_at_the_top() -> None:
    effective = settle(f'token = "t"\nauth = "token"\n[[server]]\nbase_url = "{URL}"\ntoken_file = "/f"')

    server = effective.config.servers[0]
    assert (server.token, server.token_file) == (None, "/f")


# --- several servers ---

TWO = f"""
tenant = "top.example"
log_level = "debug"
[[server]]
base_url = "{URL}"
[[server]]
base_url = "https://second.example"
listen = 8081
tenant = "second.example"
"""


def test_top_of_the_file_holds_for_every_server() -> None:
    effective = settle(TWO)

    assert [server.tenant for server in effective.config.servers] == ["top.example", "second.example"]
    assert (source(effective, "tenant", 0), source(effective, "tenant", 1)) == (
        "file c.toml",
        "file c.toml, server 2",
    )
    assert effective.config.log_level == "debug"


def test_flag_and_environment_hold_for_every_server() -> None:
    effective = settle(TWO, {"FHIR_AUTH_PROXY_TENANT": "own.example"}, {"auth": "device-code"})

    assert [(server.tenant, server.auth) for server in effective.config.servers] == [
        ("own.example", "device-code")
    ] * 2


def test_base_url_replaces_the_one_of_a_single_server() -> None:
    effective = settle('[[server]]\nbase_url = "https://other.example"', flags={"base_url": URL})

    assert str(effective.config.servers[0].base_url) == URL


def test_servers_may_all_take_free_ports() -> None:
    effective = settle(TWO.replace("8081", "0"), flags={"listen": "127.0.0.1:0"})

    assert [server.listen.port for server in effective.config.servers] == [0, 0]


# --- what is wrong ---

BASE = f'base_url = "{URL}"\n'
WRONG = [
    # single values: key, value and where, then why
    ("listen = 99999", "listen = 99999 (file c.toml) has a port that is not a number from 0 to 65535"),
    (
        'auth = "magic"',
        (
            "auth = \"magic\" (file c.toml) is not 'auto', 'anonymous', 'interactive', 'device-code', "
            "'client-secret', 'client-certificate', 'workload-identity', 'managed-identity', 'azure-cli', 'azd', 'powershell', 'token' or 'command'"
        ),
    ),
    ('allow_remote = "maybe"', 'allow_remote = "maybe" (file c.toml) is neither true nor false'),
    ("allow_remote = []", "allow_remote = [] (file c.toml) is neither true nor false"),
    ('read_timeout = "x"', 'read_timeout = "x" (file c.toml) is not a number'),
    ("read_timeout = []", "read_timeout = [] (file c.toml) is not a number"),
    ("read_timeout = 0", "read_timeout = 0 (file c.toml) is not above 0"),
    ("read_timeout = nan", "read_timeout = NaN (file c.toml) is not above 0"),
    ("read_timeout = inf", "read_timeout = Infinity (file c.toml) is above 86400"),
    ('read_timeout = "1e999"', 'read_timeout = "1e999" (file c.toml) is out of range'),
    ("redirect_port = true", "redirect_port = true (file c.toml) is not a whole number"),
    ("read_timeout = 90000", "read_timeout = 90000 (file c.toml) is above 86400"),
    ("redirect_port = 1.5", "redirect_port = 1.5 (file c.toml) is not a whole number"),
    ('redirect_port = "x"', 'redirect_port = "x" (file c.toml) is not a whole number'),
    ("redirect_port = []", "redirect_port = [] (file c.toml) is not a whole number"),
    ("redirect_port = -1", "redirect_port = -1 (file c.toml) is below 0"),
    ("tenant = 5", "tenant = 5 (file c.toml) is not text"),
    ('tenant = "../x"', 'tenant = "../x" (file c.toml) is neither a GUID nor a domain name'),
    ('aliases = "https://a"', 'aliases = "https://a" (file c.toml) is not a list; write ["..."]'),
    ('aliases = ["https://a", "b"]', 'aliases = "b" (file c.toml) does not start with https:// or http://'),
    ("aliases = 2020-01-01", 'aliases = "2020-01-01" (file c.toml) is not a list; write ["..."]'),
    *(
        (
            f'export_storage = ["{text}"]',
            (
                f'export_storage = "{text}" (file c.toml) is not one host; write it as in '
                "account.blob.core.windows.net, without https:// or a path"
            ),
        )
        for text in (
            "https://a.example",
            "*.example",
            "a.example/c",
            "[::1]:1",
            "a b",
            "",
            "a.example.",
            "a@b",
        )
    ),
    ('export_storage = ["a:0"]', 'export_storage = "a:0" (file c.toml) has port 0'),
    ('log_level = "loud"', "log_level = \"loud\" (file c.toml) is not 'error', 'warning', 'info' or 'debug'"),
    (
        'server = "x"',
        "server (file c.toml) is not a list of tables; write [[server]] above each server",
    ),
    ("[server]", "server (file c.toml) is not a list of tables; write [[server]] above each server"),
    # keys
    ('lisen = "x"', "lisen (file c.toml) is not a setting; did you mean listen?"),
    ('token-file = "x"', "token-file (file c.toml) is not a setting; did you mean token_file?"),
    ("zzz = 1", "zzz (file c.toml) is not a setting"),
    (
        '[[server]]\nlog_format = "json"',
        (
            'log_format = "json" (file c.toml, server 1) holds for the whole process; write it at the top of '
            "the file, above the first [[server]]"
        ),
    ),
    ("[[server]]\nlisten2 = 1", "listen2 (file c.toml, server 1) is not a setting; did you mean listen?"),
    # two ways to say one thing
    (
        'token = "t"\ntoken_file = "/f"',
        'token = "********" (file c.toml) and token_file = "/f" (file c.toml) say the same; keep one',
    ),
    (
        'client_secret = "t"\nclient_secret_file = "/f"',
        (
            'client_secret = "********" (file c.toml) and client_secret_file = "/f" (file c.toml) say the '
            "same; keep one"
        ),
    ),
    (
        'authority = "https://a/t"\nauthority_host = "h"',
        (
            'authority = "https://a/t" (file c.toml) and authority_host = "h" (file c.toml) say the same; '
            "keep one"
        ),
    ),
    # settings that do not go together
    (
        'authority = "http://a/t"',
        'authority = "http://a/t" (file c.toml) is not https, and a sign-in could be read on the way',
    ),
    (
        'authority = "https://a"',
        'authority = "https://a" (file c.toml) names no tenant; write https://a/TENANT',
    ),
    (
        'auth = "token"',
        (
            'auth = "token" (file c.toml) needs token_file (--token-file, FHIR_AUTH_PROXY_TOKEN_FILE) or '
            "token (FHIR_AUTH_PROXY_TOKEN)"
        ),
    ),
    (
        'auth = "client-secret"\ntenant = "t"\nclient_id = "i"',
        (
            'auth = "client-secret" (file c.toml) needs client_secret (FHIR_AUTH_PROXY_CLIENT_SECRET) or '
            "client_secret_file (--client-secret-file, FHIR_AUTH_PROXY_CLIENT_SECRET_FILE)"
        ),
    ),
    (
        'auth = "client-secret"\ntenant = "t"\nclient_secret = "s"',
        'auth = "client-secret" (file c.toml) needs client_id (--client-id, FHIR_AUTH_PROXY_CLIENT_ID)',
    ),
    (
        'auth = "client-certificate"\nclient_id = "i"\ntenant = "t"',
        (
            'auth = "client-certificate" (file c.toml) needs client_certificate_file '
            "(--client-certificate-file, FHIR_AUTH_PROXY_CLIENT_CERTIFICATE_FILE)"
        ),
    ),
    (
        'auth = "workload-identity"',
        (
            'auth = "workload-identity" (file c.toml) needs client_id (--client-id, FHIR_AUTH_PROXY_CLIENT_ID), '
            "and federated_token_file (--federated-token-file, FHIR_AUTH_PROXY_FEDERATED_TOKEN_FILE) or "
            "github_token_url (--github-token-url, FHIR_AUTH_PROXY_GITHUB_TOKEN_URL), "
            "and tenant (--tenant, FHIR_AUTH_PROXY_TENANT)"
        ),
    ),
    (
        'token_cache = "rediss://:word@cache"',
        (
            'token_cache = "rediss://********@cache" (file c.toml) needs a key that seals what is kept there: '
            "token_cache_key_file (--token-cache-key-file, FHIR_AUTH_PROXY_TOKEN_CACHE_KEY_FILE) or "
            "token_cache_key (FHIR_AUTH_PROXY_TOKEN_CACHE_KEY)"
        ),
    ),
    (
        'token_cache = "redis//:wo/rd@cache"',
        (
            'token_cache = "********@cache" (file c.toml) is neither one of auto, encrypted, file, none nor a URL '
            "rediss://[user:password@]host[:port][/database], with what is no letter or digit in user and password "
            "percent-encoded"
        ),
    ),
    (
        'github_token_url = "https://t.example/x?api-version=2.0"',
        (
            'github_token_url = "https://t.example/x?********" (file c.toml) needs the other of GitHub\'s two '
            "variables, ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN"
        ),
    ),
    (
        'github_token_url = "http://t.example"\ngithub_token = "s"',
        'github_token_url = "http://t.example" (file c.toml) is not an https URL',
    ),
    (
        "command_timeout = 0",
        "command_timeout = 0 (file c.toml) is not above 0",
    ),
    (
        'auth = "managed-identity"\nclient_id = "i"\nmanaged_identity_object_id = "o"',
        (
            'auth = "managed-identity" (file c.toml) names its identity by client_id and by '
            "managed_identity_object_id (AZURE_CLIENT_ID is a client_id too); keep one"
        ),
    ),
    ('auth = "command"', 'auth = "command" (file c.toml) needs command (--command, FHIR_AUTH_PROXY_COMMAND)'),
    (
        'auth = "client-secret"\nclient_id = "i"\nclient_secret = "s"',
        'auth = "client-secret" (file c.toml) needs tenant (--tenant, FHIR_AUTH_PROXY_TENANT)',
    ),
    (
        'auth = "device-code"\nredirect_port = 1',
        (
            'redirect_port = 1 (file c.toml) has no use with auth = "device-code", which opens no browser; '
            'leave it out, or use "interactive"'
        ),
    ),
    (
        "admin_listen = 8080",
        'admin_listen = "localhost:8080" is the listener of server 1; give it a port of its own',
    ),
    (
        "redirect_port = 8080",
        (
            "redirect_port = 8080 (file c.toml) is the listener's own port (localhost:8080); give the "
            "sign-in another one"
        ),
    ),
    *(
        (
            f'export_storage = ["a.example"]\n{settings}',
            (
                'export_storage = ["a.example"] (file c.toml) needs a token of its own, which auth = '
                f'"{method}" cannot obtain; sign in in another way'
            ),
        )
        for method, settings in (
            ("anonymous", 'auth = "anonymous"'),
            ("token", 'auth = "token"\ntoken = "t"'),
            ("command", 'auth = "command"\ncommand = ["c"]'),
        )
    ),
    (
        'export_storage = ["fhir.example.org"]',
        (
            'export_storage = ["fhir.example.org"] (file c.toml) names the server itself, whose files come '
            "through the proxy anyway; leave it out"
        ),
    ),
    (
        'listen = "0.0.0.0:80"\nallow_remote = true',
        (
            'listen = "0.0.0.0:80" (file c.toml) can be reached from other machines, and whoever reaches it '
            "acts as you on the server; if you mean that, set the names by which tools call it in "
            "allowed_hosts (--allowed-host, FHIR_AUTH_PROXY_ALLOWED_HOSTS)"
        ),
    ),
    (
        'listen = "fhir:80"\nallowed_hosts = ["fhir"]',
        (
            'listen = "fhir:80" (file c.toml) can be reached from other machines, and whoever reaches it '
            "acts as you on the server; if you mean that, set allow_remote (--allow-remote, "
            "FHIR_AUTH_PROXY_ALLOW_REMOTE)"
        ),
    ),
    (
        'listen = "[::]:80"',
        (
            'listen = "[::]:80" (file c.toml) can be reached from other machines, and whoever reaches it '
            "acts as you on the server; if you mean that, set allow_remote (--allow-remote, "
            "FHIR_AUTH_PROXY_ALLOW_REMOTE) and the names by which tools call it in allowed_hosts "
            "(--allowed-host, FHIR_AUTH_PROXY_ALLOWED_HOSTS)"
        ),
    ),
]


@pytest.mark.parametrize(("toml", "expected"), WRONG, ids=[toml for toml, _ in WRONG])
def test_wrong_setting_names_key_value_source_and_reason(toml: str, expected: str) -> None:
    assert [expected] == problems(BASE + toml)


WRONG_URL = [
    (
        "http://fhir.example.org",
        (
            'base_url = "http://fhir.example.org" (argument BASE_URL) is not https, and a token sent to it '
            'could be read on the way; use https, or auth = "anonymous" if the server asks for none'
        ),
    ),
    (
        "http://localhost:8080/fhir",
        (
            'base_url = "http://localhost:8080/fhir" (argument BASE_URL) is the listener\'s own port '
            "(localhost:8080): the proxy would call itself"
        ),
    ),
    (
        "fhir.example.org",
        'base_url = "fhir.example.org" (argument BASE_URL) does not start with https:// or http://',
    ),
    (
        "https://me:word@fhir.example.org",
        'base_url = "https://********@fhir.example.org" (argument BASE_URL) holds a user name or password',
    ),
    (
        "https://fhir.example.org?sig=word",
        'base_url = "https://fhir.example.org?********" (argument BASE_URL) holds a query or a fragment',
    ),
    (
        None,
        "base_url is not given; name it as BASE_URL, as FHIR_AUTH_PROXY_BASE_URL, or as base_url in the file",
    ),
]


@pytest.mark.parametrize(("url", "expected"), WRONG_URL)
def test_wrong_base_url_names_value_and_reason(url: str | None, expected: str) -> None:
    assert [expected] == problems(flags={"base_url": url})


@pytest.mark.parametrize(
    "toml",
    [
        'base_url = "http://fhir.example.org"\nauth = "anonymous"',
        'base_url = "http://localhost:9090/fhir"',
        'base_url = "https://localhost:8080"',
        'base_url = "http://127.0.0.1:8080"\nlisten = "127.0.0.1:0"',
        BASE + 'listen = "0.0.0.0:80"\nallow_remote = true\nallowed_hosts = ["fhir"]',
        BASE + 'auth = "token"\ntoken = "t"',
        BASE + 'export_storage = ["a.blob.core.windows.net", "b.blob.core.windows.net"]',
        BASE + 'auth = "client-secret"\nclient_id = "i"\nclient_secret = "s"\nauthority = "https://a/t"',
        BASE + 'auth = "interactive"\nredirect_port = 8400',
        BASE + "server = []",
    ],
)
def test_settings_that_go_together_are_taken(toml: str) -> None:
    assert len(settle(toml).config.servers) == 1


def test_unknown_variable_is_told_by_its_own_name() -> None:
    expected = (
        "tokn_file (environment FHIR_AUTH_PROXY_TOKN_FILE) is not a setting; did you mean "
        "FHIR_AUTH_PROXY_TOKEN_FILE?"
    )

    assert [expected] == problems(environment={"FHIR_AUTH_PROXY_TOKN_FILE": "x"}, flags={"base_url": URL})


SEVERAL_WRONG = [
    (
        {},
        {"base_url": URL},
        (
            f'base_url = "{URL}" (argument BASE_URL) is one server, and the configuration file has 2; leave '
            "one of the two out"
        ),
    ),
    (
        {"FHIR_AUTH_PROXY_BASE_URL": URL},
        {},
        (
            f'base_url = "{URL}" (environment FHIR_AUTH_PROXY_BASE_URL) is one server, and the configuration '
            "file has 2; leave one of the two out"
        ),
    ),
    (
        {},
        {"listen": "localhost:9"},
        (
            'listen = "localhost:9" of server 2 is taken by server 1 ("localhost:9"); give each server a '
            "port of its own, or port 0"
        ),
    ),
    ({}, {"read_timeout": "x"}, 'read_timeout = "x" (flag --read-timeout) is not a number'),
]


@pytest.mark.parametrize(("environment", "flags", "expected"), SEVERAL_WRONG)
def test_conflict_of_several_servers_is_told_once(
    environment: dict[str, str], flags: dict[str, object], expected: str
) -> None:
    assert [expected] == problems(TWO, environment, flags)


def test_server_without_base_url_is_told_by_number() -> None:
    expected = (
        "server 2: base_url is not given; name it as BASE_URL, as FHIR_AUTH_PROXY_BASE_URL, or as base_url "
        "in the file"
    )

    assert [expected] == problems(TWO.replace('base_url = "https://second.example"', ""))


def test_conflict_within_one_server_is_told_by_number() -> None:
    told = problems(TWO + 'auth = "token"')

    assert [line.partition(" token_file")[0] for line in told] == [
        'server 2: auth = "token" (file c.toml, server 2) needs'
    ]


def test_everything_wrong_is_told_together() -> None:
    told = problems(
        'lisen = 1\nauth = "client-secret"\nlog_level = "loud"',
        {"FHIR_AUTH_PROXY_READ_TIMEOUT": "x"},
        {"listen": "0.0.0.0:80", "base_url": "nowhere"},
    )

    assert [line.partition(" ")[0] for line in told] == [
        "lisen",
        "base_url",
        "read_timeout",
        "log_level",
        "listen",
        "auth",
    ]


def test_check_is_silent_where_one_of_its_values_is_wrong() -> None:
    told = problems(BASE + 'auth = "client-secret"\nclient_id = "i"\nclient_secret = "s"\ntenant = "../x"')

    assert [line.partition(" ")[0] for line in told] == ["tenant"]


def test_long_value_is_cut() -> None:
    (told,) = problems(BASE + f'tenant = "/{"x" * 5000}"')

    assert len(told) < 250


# --- secrets ---


@given(
    st.sampled_from(["token", "client_secret", "client_certificate_password", "github_token"]),
    st.one_of(
        st.integers(10**9, 10**12).map(str),
        st.from_regex(r"\"[a-z]{12}\"", fullmatch=True),
        st.from_regex(r"\[\"[a-z]{12}\"\]", fullmatch=True),
    ),
)
def test_secret_is_in_no_error_and_no_repr(key: str, value: str) -> None:
    text = value.strip('[]"')
    toml = f"{BASE}{key} = {value}"
    told = problems(toml + "\nlog_level = 1")
    layer = file_layer(tomllib.loads(toml), "c.toml", FOLDER)

    assert text not in "\n".join(told)
    assert text not in repr(layer)


def test_secret_is_masked_in_rows_and_repr() -> None:
    effective = settle(BASE + 'token = "not-for-eyes"')
    row = next(row for row in effective.server_rows(0) if row.key == "token")

    assert Row("token", '"********"', "file c.toml", is_secret=True) == row
    assert "not-for-eyes" not in repr(effective)
    assert "not-for-eyes" not in str(effective.config.plain())


def test_value_of_an_unknown_key_is_not_quoted() -> None:
    (told,) = problems(BASE + 'tokn = "not-for-eyes"')

    assert told == "tokn (file c.toml) is not a setting; did you mean token?"


def test_error_keeps_no_trace_of_the_values() -> None:
    with pytest.raises(ConfigError) as raised:
        settle(BASE + "token = 5")

    assert (raised.value.__cause__, raised.value.__context__) == (None, None)


# --- the whole ---


def test_rows_hold_every_setting_once() -> None:
    effective = settle(BASE)

    assert set(SETTINGS) == {row.key for row in [*effective.process_rows(), *effective.server_rows(0)]}


def test_rows_can_be_read_back() -> None:
    effective = settle(
        BASE + 'listen = "[::1]:1"\naliases = ["https://a"]\nallow_remote = true\nread_timeout = 2'
    )
    rows = [*effective.process_rows(), *effective.server_rows(0)]
    again = settle("\n".join(f"{row.key} = {row.value}" for row in rows if row.value is not None))

    assert effective.config == again.config


def test_defaults_are_those_of_the_models() -> None:
    assert Config.of({"server": [{"base_url": URL}]}) == settle(BASE).config


def test_no_layers_miss_the_base_url() -> None:
    with pytest.raises(ConfigError, match="base_url is not given"):
        resolve([])


documents = st.recursive(
    st.none().map(lambda _: "") | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*SETTINGS, "server", "x"]), documents, max_size=4))
def test_any_document_is_a_configuration_or_a_list_of_reasons(document: dict[str, object]) -> None:
    layer: Layer = file_layer(document, "c.toml", FOLDER)
    try:
        config = resolve([layer]).config
    except ConfigError as error:
        assert error.message != ""  # noqa: PT017 - one of two outcomes that are both right
    else:
        assert config.servers
