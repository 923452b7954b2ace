from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.authorities import (
    Authority,
    asks_for_entra,
    authority,
    is_tenant,
)
from proxy.auth.clouds import AUTHORITY_HOSTS, SIGN_IN_HOSTS, Cloud, cloud_of
from proxy.config import ServerConfig
from proxy.errors import AuthenticationFailed, ConfigError
from proxy.model import Challenge

GUID = "8a2f1c70-4c5e-4f06-9a43-d1b1a7f5e0c1"
OTHER = "11111111-2222-3333-4444-555555555555"
PUBLIC = "https://login.microsoftonline.com"
FHIR = "https://ws-fhir.fhir.azurehealthcareapis"


def config(**settings: object) -> ServerConfig:
    return ServerConfig.of({"base_url": "https://fhir.example", **settings})


def bearer(authorization_uri: str = "", **parameters: str) -> tuple[Challenge, ...]:
    if authorization_uri:
        parameters["authorization_uri"] = authorization_uri
    return (Challenge("negotiate"), Challenge("bearer", parameters))


CONFIGURED = [
    ({"tenant": GUID}, f"{PUBLIC}/{GUID}", GUID),
    ({"tenant": "contoso.example"}, f"{PUBLIC}/contoso.example", "contoso.example"),
    (
        {"tenant": GUID, "authority_host": "login.microsoftonline.us"},
        f"https://login.microsoftonline.us/{GUID}",
        GUID,
    ),
    (
        {"tenant": GUID, "authority_host": "https://login.partner.microsoftonline.cn/"},
        f"https://login.partner.microsoftonline.cn/{GUID}",
        GUID,
    ),
    ({"tenant": GUID, "base_url": f"{FHIR}.com"}, f"{PUBLIC}/{GUID}", GUID),
    ({"tenant": GUID, "base_url": f"{FHIR}.us"}, f"https://login.microsoftonline.us/{GUID}", GUID),
    ({"tenant": GUID, "base_url": f"{FHIR}.cn"}, f"https://login.partner.microsoftonline.cn/{GUID}", GUID),
    ({"authority": f"https://localhost:8443/{GUID}"}, f"https://localhost:8443/{GUID}", GUID),
    ({"authority": "https://localhost:8443", "tenant": GUID}, f"https://localhost:8443/{GUID}", GUID),
    (
        {"authority": f"https://localhost:8443/{GUID.upper()}", "tenant": GUID},
        f"https://localhost:8443/{GUID.upper()}",
        GUID,
    ),
    (
        {"authority": "https://id.example/tfp/contoso.example/policy", "tenant": "contoso.example"},
        "https://id.example/tfp/contoso.example/policy",
        "contoso.example",
    ),
]


@pytest.mark.parametrize(("settings", "url", "tenant"), CONFIGURED)
@pytest.mark.parametrize("app", [{}, {"auth": "client-secret"}], ids=["person", "app"])
@pytest.mark.parametrize("uri", ["", f"{PUBLIC}/{OTHER}", "https://evil.example/x"])
def test_configured_authority_wins_over_any_challenge(
    settings: dict[str, object], url: str, tenant: str, app: dict[str, object], uri: str
) -> None:
    assert Authority(url, tenant) == authority(config(**{**settings, **app}), bearer(uri))


HINTED = [
    (f"{PUBLIC}/{GUID}", f"{PUBLIC}/{GUID}", GUID),
    (f"{PUBLIC}/{GUID}/", f"{PUBLIC}/{GUID}", GUID),
    (f"{PUBLIC}:443/{GUID}/oauth2/authorize", f"{PUBLIC}/{GUID}", GUID),
    (f"{PUBLIC}/{GUID}/v2.0?x=y#z", f"{PUBLIC}/{GUID}", GUID),
    (f"{PUBLIC}/contoso.example", f"{PUBLIC}/contoso.example", "contoso.example"),
    (f"HTTPS://Login.MicrosoftOnline.Com/{GUID}", f"{PUBLIC}/{GUID}", GUID),
    # an alias becomes the cloud's own host
    (f"https://login.windows.net/{GUID}", f"{PUBLIC}/{GUID}", GUID),
    (f"https://sts.windows.net/{GUID}/", f"{PUBLIC}/{GUID}", GUID),
    (f"https://login.usgovcloudapi.net/{GUID}", f"https://login.microsoftonline.us/{GUID}", GUID),
    (f"https://login.chinacloudapi.cn/{GUID}", f"https://login.partner.microsoftonline.cn/{GUID}", GUID),
    (f"https://login.sovcloud-identity.fr/{GUID}", f"https://login.sovcloud-identity.fr/{GUID}", GUID),
    # no tenant in it
    (f"{PUBLIC}/common/oauth2/authorize", f"{PUBLIC}/organizations", "organizations"),
    (f"{PUBLIC}/consumers", f"{PUBLIC}/organizations", "organizations"),
    (PUBLIC, f"{PUBLIC}/organizations", "organizations"),
    (f"{PUBLIC}/%2e%2e/x", f"{PUBLIC}/organizations", "organizations"),
    (f"{PUBLIC}//{GUID}", f"{PUBLIC}/organizations", "organizations"),
    ("https://login.windows.net/azure_tenant_id", f"{PUBLIC}/organizations", "organizations"),
]


@pytest.mark.parametrize(("uri", "url", "tenant"), HINTED)
def test_trusted_challenge_is_rebuilt_from_host_and_tenant(uri: str, url: str, tenant: str) -> None:
    assert Authority(url, tenant, discovered=True) == authority(config(), bearer(uri))


def test_key_vaults_name_of_the_parameter_counts_too() -> None:
    assert f"{PUBLIC}/{GUID}" == authority(config(), bearer(authorization=f"{PUBLIC}/{GUID}")).url


UNTRUSTED = [
    "https://evil.example/organizations",
    "https://login.window.net/common",
    "https://login.windows-ppe.net/",
    "https://login.microsoftonline.com.evil.example/x",
    "https://evil-login.microsoftonline.com/x",
    "https://microsoftonline.com/x",
    "https://login.microsoftonline.com./x",
    "https://login.microsoftonline.com:8443/x",
    "https://login.microsoftonline.com@evil.example/x",
    "https://login.microsoftonline.com:443@evil.example/x",
    "https://x@login.microsoftonline.com/x",
    "https://login.microsoftonline.com\\@evil.example/x",
    "https://login.microsoftonline.com/x\\y",
    "https://login.microsoftonline.com?/x",
    "https://login.microsoftonline.com\t/x",
    "https:/login.microsoftonline.com/x",
    "https:login.microsoftonline.com/x",
    "//login.microsoftonline.com/x",
    "http://login.microsoftonline.com/x",
    "javascript:alert(1)",
    "https://login.microsoftonline.c\N{CYRILLIC SMALL LETTER O}m/x",
    "https://[::1]/x",
    "https://",
    "x",
]


@pytest.mark.parametrize("uri", UNTRUSTED)
def test_untrusted_challenge_is_refused_with_the_way_out(uri: str) -> None:
    with pytest.raises(AuthenticationFailed, match="not one of Microsoft's sign-in hosts") as caught:
        authority(config(), bearer(uri))

    assert "--authority" in caught.value.hint
    assert "https://fhir.example" in caught.value.message


def test_refusal_names_the_host() -> None:
    with pytest.raises(AuthenticationFailed, match=r"'evil\.example'"):
        authority(config(), bearer("https://evil.example/x"))


@given(
    st.one_of(st.text(), st.sampled_from([*UNTRUSTED, PUBLIC]).flatmap(lambda x: st.text().map(x.__add__)))
)
def test_no_challenge_leads_off_the_list(uri: str) -> None:
    try:
        chosen = authority(config(), bearer(uri))
    except AuthenticationFailed:
        return

    host, _, tenant = chosen.url.removeprefix("https://").partition("/")
    assert host in AUTHORITY_HOSTS
    assert tenant == "organizations" or is_tenant(tenant)


DEFAULTS = [
    ("https://fhir.example", f"{PUBLIC}/organizations"),
    (f"{FHIR}.com", f"{PUBLIC}/organizations"),
    (f"{FHIR}.us", "https://login.microsoftonline.us/organizations"),
    (f"{FHIR}.cn", "https://login.partner.microsoftonline.cn/organizations"),
]


@pytest.mark.parametrize(("base_url", "url"), DEFAULTS)
def test_person_without_a_hint_signs_in_at_home_in_the_servers_cloud(base_url: str, url: str) -> None:
    assert Authority(url, "organizations") == authority(config(base_url=base_url), bearer(realm="x"))


APPS = [
    {"auth": "client-secret", "client_id": "c", "client_secret": "s"},
    {"auth": "auto", "client_id": "c", "client_secret": "s"},
    {"auth": "auto", "client_id": "c", "client_secret_file": "s.txt"},
]


@pytest.mark.parametrize("settings", APPS)
def test_secret_never_follows_a_challenge(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"named {GUID} at login.microsoftonline.com") as caught:
        authority(config(**settings), bearer(f"{PUBLIC}/{GUID}"))

    assert "--tenant" in caught.value.hint


@pytest.mark.parametrize("settings", APPS)
@pytest.mark.parametrize("uri", ["", "https://evil.example/x", f"{PUBLIC}/common"])
def test_secret_needs_a_tenant(settings: dict[str, object], uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        authority(config(**settings), bearer(uri))

    assert "evil" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("tenant", ["common", "Organizations", "consumers"])
def test_secret_needs_a_tenant_of_its_own(tenant: str) -> None:
    with pytest.raises(ConfigError, match="one tenant"):
        authority(config(tenant=tenant, **APPS[0]))


@pytest.mark.parametrize("method", ["interactive", "device-code"])
def test_secret_that_stands_by_does_not_make_an_app(method: str) -> None:
    chosen = authority(config(auth=method, client_secret="s"), bearer(f"{PUBLIC}/{GUID}"))

    assert Authority(f"{PUBLIC}/{GUID}", GUID, discovered=True) == chosen


CONTRADICTIONS = [
    ({"authority": "http://localhost:8443/x"}, "not https"),
    ({"authority": "https://localhost:8443"}, "names no tenant"),
    ({"authority": f"https://localhost:8443/{GUID}", "tenant": OTHER}, "contradict"),
    ({"authority_host": "login.example"}, "not one of Microsoft's"),
    ({"authority_host": "login.example", "tenant": GUID}, "not one of Microsoft's"),
    ({"authority_host": "login.microsoftonline.com:8443", "tenant": GUID}, "not one of Microsoft's"),
]


@pytest.mark.parametrize(("settings", "words"), CONTRADICTIONS)
def test_contradiction_in_the_settings_is_told(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        authority(config(**settings))


def test_challenge_of_another_cloud_than_the_configured_host_is_told() -> None:
    with pytest.raises(AuthenticationFailed, match="Azure US Government") as caught:
        authority(
            config(authority_host="login.microsoftonline.com"),
            bearer(f"https://login.microsoftonline.us/{GUID}"),
        )

    assert "--authority-host login.microsoftonline.us" in caught.value.hint


def test_configured_alias_stays_with_a_challenge_of_its_cloud() -> None:
    chosen = authority(config(authority_host="login.microsoft.com"), bearer(f"{PUBLIC}/{GUID}"))

    assert f"https://login.microsoft.com/{GUID}" == chosen.url


US, CHINA = "login.microsoftonline.us", "login.partner.microsoftonline.cn"
CLOUDS = [
    # the server, the settings, where its challenge leads, what to use
    (f"{FHIR}.us", {"tenant": GUID, "authority_host": "login.microsoftonline.com"}, "", f"--authority-host {US}."),
    (f"{FHIR}.us", {"authority": f"{PUBLIC}/{GUID}"}, "", f"--authority https://{US}/{GUID}."),
    (f"{FHIR}.com", {"authority": f"https://{US}/{GUID}"}, "", f"--authority {PUBLIC}/{GUID}."),
    (f"{FHIR}.com", {"tenant": GUID, "authority_host": CHINA}, "", "--authority-host login.microsoftonline.com."),
    (f"{FHIR}.cn", {"authority": f"{PUBLIC}/{GUID}"}, "", f"--authority https://{CHINA}/{GUID}."),
    (f"{FHIR}.cn", {"tenant": GUID, "authority_host": US}, f"https://{US}/{GUID}", f"--authority-host {CHINA}."),
    ("https://fhir.example", {"tenant": GUID}, f"https://{US}/{GUID}", f"--authority-host {US}."),
    ("https://fhir.example", {"authority": f"https://{US}/{GUID}"}, f"{PUBLIC}/x", f"--authority {PUBLIC}/{GUID}."),
]  # fmt: skip


@pytest.mark.parametrize(("base_url", "settings", "uri", "fix"), CLOUDS)
def test_wrong_cloud_is_explained(base_url: str, settings: dict[str, object], uri: str, fix: str) -> None:
    server = config(base_url=base_url, **settings)
    said = authority(server, bearer(uri) if uri else ()).wrong_cloud

    assert server.base_url.host in said
    assert f"{said}.".endswith(fix)


@pytest.mark.parametrize(
    ("base_url", "settings", "uri"),
    [
        (f"{FHIR}.us", {"tenant": GUID}, ""),
        (f"{FHIR}.cn", {"tenant": GUID}, f"https://{CHINA}/{GUID}"),
        (f"{FHIR}.com", {}, ""),
        ("https://fhir.example", {"authority": f"https://{US}/{GUID}"}, ""),
        ("https://fhir.example", {"tenant": GUID}, "https://evil.example/x"),
        (f"{FHIR}.us", {"authority": f"https://localhost:8443/{GUID}"}, ""),
    ],
)
def test_right_or_unknown_cloud_needs_no_words(base_url: str, settings: dict[str, object], uri: str) -> None:
    assert authority(config(base_url=base_url, **settings), bearer(uri) if uri else ()).wrong_cloud == ""


ENTRA = [
    ({}, bearer(f"{PUBLIC}/{GUID}"), True),
    ({}, bearer("https://evil.example/x"), True),  # refused by `authority`, with words
    ({}, bearer(realm="x"), False),
    ({}, (Challenge("basic"),), False),
    ({}, (), False),
    ({"tenant": GUID}, bearer(), True),
    ({"authority_host": "login.microsoftonline.us"}, bearer(), True),
    ({"authority": "https://localhost/x"}, bearer(), True),
    ({"base_url": f"{FHIR}.com"}, bearer(), True),
    ({"base_url": f"{FHIR}.com"}, (), True),
    ({"base_url": f"{FHIR}.com"}, (Challenge("basic"),), False),
    ({"tenant": GUID}, (Challenge("negotiate"),), False),
]


@pytest.mark.parametrize(("settings", "challenges", "expected"), ENTRA)
def test_entra_is_recognized_by_settings_host_or_challenge(
    settings: dict[str, object], challenges: tuple[Challenge, ...], expected: bool
) -> None:
    assert expected == asks_for_entra(config(**settings), challenges)


TENANTS = [
    (GUID, True),
    (GUID.upper(), True),
    ("contoso.onmicrosoft.com", True),
    ("xn--mller-kva.example", True),
    ("common", False),
    ("azure_tenant_id", False),
    ("", False),
    (".example", False),
    ("contoso..example", False),
    ("-x.example", False),
    ("contoso.example/x", False),
    ("contoso.example\n", False),
    ("a." * 130 + "example", False),
]


@pytest.mark.parametrize(("text", "expected"), TENANTS)
def test_tenant_is_a_guid_or_a_domain(text: str, expected: bool) -> None:
    assert expected == is_tenant(text)


FHIR_HOSTS = [
    ("ws-fhir.fhir.azurehealthcareapis.com", Cloud.PUBLIC),
    ("x.azurehealthcareapis.us", Cloud.US_GOVERNMENT),
    ("x.azurehealthcareapis.cn", Cloud.CHINA),
    ("evilazurehealthcareapis.com", None),
    ("azurehealthcareapis.com.evil.example", None),
    ("fhir.example", None),
]


@pytest.mark.parametrize(("host", "expected"), FHIR_HOSTS)
def test_cloud_of_a_fhir_host(host: str, expected: Cloud | None) -> None:
    assert expected is cloud_of(host)


def test_list_holds_every_host_that_msal_knows() -> None:
    from msal.authority import WELL_KNOWN_AUTHORITY_HOSTS

    assert set(AUTHORITY_HOSTS) == set(WELL_KNOWN_AUTHORITY_HOSTS)


def test_every_cloud_signs_in_at_a_host_of_its_own() -> None:
    assert {cloud: cloud for cloud in Cloud} == {
        cloud: AUTHORITY_HOSTS[host] for cloud, host in SIGN_IN_HOSTS.items()
    }
    assert f"https://{SIGN_IN_HOSTS[Cloud.PUBLIC]}" == PUBLIC
