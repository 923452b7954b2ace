"""Where a FHIR document holds an address of the server that sends it, and not the identity of something.

Only an address may become local on its way to the tool. An identity (a canonical URL, a system, a profile,
the `url` of an extension or of a conformance resource) means the same on every machine, even where it lies
under the server's own URL: rewritten it would no longer be found, validate, or equal what others hold.

Derived from the element definitions of R4 4.0.1 and R5 5.0.0 (package hl7.fhir.r5.core, and R4's
profiles-resources.json and profiles-types.json): every element of type `Attachment`, and those of type `url`
and `uri` that say where something of this server is. Addresses of other machines (`Endpoint.address`, the
endpoints of `Subscription` and `MessageHeader`, `TestScript.origin`) are of type `url` as well and are left
out.
"""

from __future__ import annotations

from typing import Final, Protocol

ATTACHMENTS: Final = frozenset(
    {
        "attachment",  # DocumentReference.content
        "content",  # Media, Library
        "contentAttachment",  # Communication.payload, Contract
        "defaultValueAttachment",  # ElementDefinition
        "document",  # RelatedArtifact
        "file",  # SubstanceDefinition.characterization (R5)
        "fixedAttachment",  # ElementDefinition
        "form",  # ClaimResponse, ExplanationOfBenefit
        "formatted",  # MolecularSequence (R5)
        "image",  # BodyStructure, ProdCharacteristic
        "legallyBindingAttachment",  # Contract
        "patternAttachment",  # ElementDefinition
        "photo",  # Patient, Practitioner, Person, RelatedPerson, HealthcareService
        "presentedForm",  # DiagnosticReport
        "sequenceAttachment",  # SubstanceNucleicAcid, SubstanceProtein
        "sourceAttachment",  # Consent
        "valueAttachment",  # Extension, Parameters, QuestionnaireResponse, Observation (R5), Task
    }
)
"""Elements of type Attachment."""

MANIFEST: Final = frozenset({"output", "error", "deleted", "issues"})
"""Lists of files in the answer of a bulk data job (Bulk Data Access IG, section Response - Complete
Status)."""

EVERYWHERE: frozenset[str] = frozenset()
"""Marks a name that is an address under whatever element it stands."""

ADDRESSES: dict[str, frozenset[str]] = {
    # name: the elements of which it must be a child to be an address
    "additionalInfo": EVERYWHERE,  # VirtualServiceDetail (R5), an array
    "definition": frozenset({"operation"}),  # CapabilityStatement.rest.operation, rest.resource.operation
    "fullUrl": EVERYWHERE,  # Bundle.entry
    "location": frozenset({"response"}),  # Bundle.entry.response
    "next": frozenset({"expansion"}),  # ValueSet (R5): the next page
    "reference": EVERYWHERE,  # Reference; R5 also Requirements and ActorDefinition, an array
    "request": EVERYWHERE,  # bulk data manifest; Bundle.entry.request is no string
    "satisfiedBy": frozenset({"statement"}),  # Requirements (R5), an array
    "url": ATTACHMENTS
    | MANIFEST
    | frozenset(
        {
            "documentation",  # RelatedArtifact of PlanDefinition and RequestGroup
            "implementation",  # CapabilityStatement, TerminologyCapabilities
            "link",  # Bundle, Bundle.entry, bulk data manifest (version 3)
            "relatedArtifact",  # RelatedArtifact of the knowledge resources
            "request",  # Bundle.entry, of a history
            "webLocation",  # Citation (R5)
        }
    ),
    "valueUri": frozenset({"parameter", "part"}),  # Parameters; an extension's is as often an identity
    "valueUrl": EVERYWHERE,
}
"""Elements that hold an address, by their own name and their parent's."""

CALLED_BY_SERVER: dict[str, str] = {
    "address": "Endpoint.address",
    "endpoint": "Subscription.channel.endpoint, Subscription.endpoint or MessageHeader.*.endpoint",
    "endpointUrl": "MessageHeader.*.endpoint",  # R5
}
"""Elements that hold a single URL which the server itself calls, now or later. No other element of R4 and R5
with one of these names holds a URL in a string."""


class Structure(Protocol):
    """What the bytes around a value tell of its place in the document."""

    def name(self, data: bytes, start: int) -> str | None:
        """The name of the element whose value begins at `start`; None where no value begins there."""

    def parent(self, data: bytes, start: int) -> str:
        """The name of the element that holds the one whose value begins at `start`."""

    def passed(self, data: bytes, end: int) -> None:
        """Take notice that `data` up to `end` has gone by, and that the next data begins there."""


def is_address(structure: Structure, data: bytes, start: int) -> bool:
    """Whether the value that begins at `start` tells where something is."""
    name = structure.name(data, start)
    parents = None if name is None else ADDRESSES.get(name)
    return parents is not None and (not parents or structure.parent(data, start) in parents)
