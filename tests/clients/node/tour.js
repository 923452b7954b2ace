// The tour of tests/clients/tours.py, made by a client for Node. Arguments: client, base URL, tag.

import * as fhirKit from "./fhir_kit.js";
import * as smart from "./smart.js";

const TAGS = "https://tour.example/tag";
const CLIENTS = { "fhir-kit-client": fhirKit, "SMART JS client": smart };

const [name, base, tag] = process.argv.slice(2);
const client = CLIENTS[name].open(base);

const identifiers = (suffix) => [{ system: TAGS, value: tag + suffix }];

const observation = (subject) => ({
  resourceType: "Observation",
  status: "final",
  code: { text: "Tour" },
  identifier: identifiers(""),
  subject: { reference: subject },
});

const entry = (fullUrl, resource) => ({
  fullUrl,
  resource,
  request: { method: "POST", url: resource.resourceType },
});

const steps = {
  sign_in: () => client.wantsSignIn(),
  pages: () => client.countPatients(),
  reference: async () => (await client.subjectOf("observation-0007-0")).id,
  async write() {
    const created = await client.create({
      resourceType: "Patient",
      name: [{ family: "Created" }],
      identifier: identifiers("-write"),
      link: [{ type: "seealso", other: { reference: `${base}/Patient/patient-0001` } }],
    });
    const found = await client.get(`Patient/${created.id}`);
    found.name[0].family = "Updated";
    await client.update(found);
    const history = await client.history(created.id);
    const versions = await Promise.all(
      history.entry.map(({ resource }) => client.get(`Patient/${resource.id}/_history/${resource.meta.versionId}`)),
    );
    return versions.map((version) => version.name[0].family);
  },
  async once() {
    const patient = { resourceType: "Patient", identifier: identifiers("-once") };
    const condition = `identifier=${TAGS}|${tag}-once`;
    const first = await client.create(patient, { "If-None-Exist": condition });
    const second = await client.create(patient, { "If-None-Exist": condition });
    return first.id === second.id;
  },
  async transaction() {
    const own = "urn:uuid:0d5a4a3c-9f0a-4b0e-8a52-6f5c5e1f0001";
    const patient = { resourceType: "Patient", identifier: identifiers("-transaction") };
    const answer = await client.transaction({
      resourceType: "Bundle",
      type: "transaction",
      entry: [
        entry(own, patient),
        entry("urn:uuid:0d5a4a3c-9f0a-4b0e-8a52-6f5c5e1f0002", observation(own)),
        entry("urn:uuid:0d5a4a3c-9f0a-4b0e-8a52-6f5c5e1f0003", observation(`${base}/Patient/patient-0001`)),
      ],
    });
    const read = await Promise.all(answer.entry.map(({ response }) => client.get(response.location)));
    return read.map((resource) => resource.resourceType);
  },
  async search() {
    const bundle = await client.search("Observation", { subject: `${base}/Patient/patient-0007` });
    return bundle.entry?.length ?? 0;
  },
};

const report = {};
for (const [step, make] of Object.entries(steps)) {
  try {
    report[step] = { value: await make() };
  } catch (error) {
    report[step] = { error: `${error.name}: ${error.message}` };
  }
}
console.log(JSON.stringify(report));
