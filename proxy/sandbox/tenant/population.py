"""The directories, applications and people that a tenant starts with: one of each kind that matters."""

from __future__ import annotations

from .registry import PERSONAL_ACCOUNTS, Client, Directory, Registry, User

PASSWORD = "correct horse"  # noqa: S105 - shown on the sign-in page: it protects synthetic data on loopback
SECRET = "sandbox~secret~value"  # noqa: S105 - printed by the sandbox, for the same reason

CLINIC = Directory("0c11a1c0-5a3d-4b0c-8000-000000000001", ("clinic.example",), "Sandbox Clinic")
PARTNER = Directory("0c11a1c0-5a3d-4b0c-8000-000000000002", ("partner.example",), "Sandbox Partner")
PERSONAL = Directory(PERSONAL_ACCOUNTS, (), "Personal accounts")

DESKTOP = Client(
    "de5c7090-5a3d-4b0c-8000-000000000001",
    CLINIC.id,
    "Sandbox desktop application",
    multi_tenant=True,
    public=True,
    redirect_uris=("http://localhost",),
)
SERVICE = Client(
    "5e1271ce-5a3d-4b0c-8000-000000000002",
    CLINIC.id,
    "Sandbox service",
    web_redirect_uris=("http://localhost/signed-in",),
    secret=SECRET,
)

MEMBER = User("ada@clinic.example", PASSWORD, CLINIC.id, name="Ada Member", note="a member")
OTHER_MEMBER = User("mary@clinic.example", PASSWORD, CLINIC.id, name="Mary Member", note="another member")
GUEST = User("grace@partner.example", PASSWORD, PARTNER.id, (CLINIC.id,), "Grace Guest", note="a guest")
STRANGER = User("hedy@partner.example", PASSWORD, PARTNER.id, name="Hedy Stranger", note="not invited")
PERSONAL_USER = User(
    "joan@personal.example", PASSWORD, PERSONAL_ACCOUNTS, name="Joan Personal", note="a personal account"
)
DISABLED = User(
    "eve@clinic.example", PASSWORD, CLINIC.id, name="Eve Disabled", problem=50057, note="a disabled account"
)

POPULATION = Registry().including(
    *(CLINIC, PARTNER, PERSONAL),
    *(DESKTOP, SERVICE),
    *(MEMBER, OTHER_MEMBER, GUEST, STRANGER, PERSONAL_USER, DISABLED),
)
