"""Two FHIR clients for Python, each as its own documentation uses it."""

from __future__ import annotations

from typing import Protocol

from fhirclient.client import FHIRClient
from fhirclient.models.bundle import Bundle
from fhirclient.models.fhirsearch import FHIRSearch
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirpy import SyncFHIRClient
from fhirpy.lib import SyncFHIRResource

Json = dict


class Client(Protocol):
    """What the tour needs of a client."""

    def wants_sign_in(self) -> bool: ...
    def count_patients(self) -> int: ...
    def subject_of(self, id_: str) -> Json: ...
    def get(self, location: str) -> Json: ...
    def create(self, resource: Json, if_none_exist: str = "") -> Json: ...
    def update(self, resource: Json) -> None: ...
    def history(self, id_: str) -> Json: ...
    def transaction(self, bundle: Json) -> Json: ...
    def search(self, type_: str, parameters: dict[str, str]) -> Json: ...


class Fhirpy:
    """https://github.com/beda-software/fhir-py"""

    def __init__(self, base: str) -> None:
        self._base = base
        self._client = SyncFHIRClient(base)

    def wants_sign_in(self) -> bool:
        statement = self._client.execute("metadata", method="get")
        return "security" in statement["rest"][0]

    def count_patients(self) -> int:
        return len(self._client.resources("Patient").fetch_all())

    def subject_of(self, id_: str) -> Json:
        reference = self._client.get("Observation", id_)["subject"]["reference"]
        # Its own `to_resource` gives up on absolute references.
        return self.get(reference)

    def get(self, location: str) -> Json:
        return self._client.execute(location, method="get")

    def create(self, resource: Json, if_none_exist: str = "") -> Json:
        fields = {"If-None-Exist": if_none_exist} if if_none_exist else {}
        client = SyncFHIRClient(self._base, extra_headers=fields)
        return self._resource(client, resource).create()

    def update(self, resource: Json) -> None:
        self._resource(self._client, resource).update()

    def history(self, id_: str) -> Json:
        return self._client.execute(f"Patient/{id_}/_history", method="get")

    def transaction(self, bundle: Json) -> Json:
        return self._client.execute("", method="post", data=bundle)

    def search(self, type_: str, parameters: dict[str, str]) -> Json:
        return self._client.resources(type_).search(**parameters).fetch_raw()

    @staticmethod
    def _resource(client: SyncFHIRClient, resource: Json) -> SyncFHIRResource:
        elements = {name: value for name, value in resource.items() if name != "resourceType"}
        return client.resource(resource["resourceType"], **elements)


class FhirclientPy:
    """https://github.com/smart-on-fhir/client-py"""

    def __init__(self, base: str) -> None:
        self._client = FHIRClient(settings={"app_id": "tour", "api_base": base})
        self._server = self._client.server

    def wants_sign_in(self) -> bool:
        return not self._client.prepare()

    def count_patients(self) -> int:
        return sum(1 for _ in Patient.where({}).perform_resources_iter(self._server))

    def subject_of(self, id_: str) -> Json:
        reference = Observation.read(id_, self._server).subject.reference
        # Its own `resolved` gives up on absolute references.
        return Patient.read_from(reference, self._server).as_json()

    def get(self, location: str) -> Json:
        return self._server.request_json(location)

    def create(self, resource: Json, if_none_exist: str = "") -> Json:
        if if_none_exist:
            self._server.session.headers["If-None-Exist"] = if_none_exist
        try:
            return Patient(resource).create(self._server)
        finally:
            self._server.session.headers.pop("If-None-Exist", None)

    def update(self, resource: Json) -> None:
        Patient(resource).update(self._server)

    def history(self, id_: str) -> Json:
        return self._server.request_json(f"Patient/{id_}/_history")

    def transaction(self, bundle: Json) -> Json:
        return Bundle(bundle).create(self._server)

    def search(self, type_: str, parameters: dict[str, str]) -> Json:
        pages = FHIRSearch(Observation, parameters).perform_iter(self._server)
        return next(pages).as_json()
