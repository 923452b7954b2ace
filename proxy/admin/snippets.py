"""What to paste into a tool so that it uses the proxy."""

from __future__ import annotations

from dataclasses import dataclass

URL_PLACE = "{url}"


@dataclass(frozen=True, slots=True)
class Snippet:
    """What to paste into a tool, with the local base URL where URL_PLACE stands."""

    tool: str
    text: str
    note: str = ""

    def code(self, url: str) -> str:
        """The text for a server."""
        return self.text.replace(URL_PLACE, url)


SNIPPETS = (
    Snippet("curl", "curl '{url}/Patient?_count=2'"),
    Snippet(
        "Python",
        "from fhirpy import SyncFHIRClient\n\n"
        'client = SyncFHIRClient("{url}")\n'
        'for patient in client.resources("Patient").limit(50):\n'
        '    print(patient["id"])',
        "With fhirpy. Every other client takes the same address, and no credentials.",
    ),
    Snippet(
        "R",
        "library(fhircrackr)\n\n"
        'request <- fhir_url(url = "{url}", resource = "Patient")\n'
        "bundles <- fhir_search(request = request, max_bundles = 2)",
        "With fhircrackr.",
    ),
    Snippet(
        "Java",
        "import ca.uhn.fhir.context.FhirContext;\n"
        "import ca.uhn.fhir.rest.client.api.IGenericClient;\n"
        "import org.hl7.fhir.r4.model.Bundle;\n\n"
        'IGenericClient client = FhirContext.forR4().newRestfulGenericClient("{url}");\n'
        'Bundle patients = client.search().forResource("Patient").count(50).returnBundle(Bundle.class).execute();\n'
        "System.out.println(patients.getEntry().size());",
        "With the HAPI FHIR client.",
    ),
    Snippet(
        "Postman",
        "{url}/Patient?_count=2",
        "As the address of a GET request in the desktop app, with No Auth; the web app does not reach localhost.",
    ),
    Snippet(
        "Power BI",
        'let\n    Patients = Fhir.Contents("{url}", null){[Name = "Patient"]}[Data]\nin\n    Patients',
        "In the advanced editor of Power Query in Power BI Desktop. Where it asks how to connect, choose Anonymous.",
    ),
)
