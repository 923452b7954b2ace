// fhir-kit-client: https://github.com/Vermonster/fhir-kit-client

import { Client } from "fhir-kit-client";

export const open = (base) => {
  const client = new Client({ baseUrl: base });
  return {
    wantsSignIn: async () => (await client.smartAuthMetadata()).authorizeUrl !== undefined,
    async countPatients() {
      let count = 0;
      let page = await client.search({ resourceType: "Patient" });
      while (page) {
        count += page.entry.length;
        page = await client.nextPage({ bundle: page });
      }
      return count;
    },
    async subjectOf(id) {
      const observation = await client.read({ resourceType: "Observation", id });
      return client.resolve({ reference: observation.subject.reference });
    },
    get: (location) => client.request(location),
    create: (body, headers = {}) => client.create({ resourceType: body.resourceType, body, options: { headers } }),
    update: (body) => client.update({ resourceType: body.resourceType, id: body.id, body }),
    history: (id) => client.resourceHistory({ resourceType: "Patient", id }),
    transaction: (body) => client.transaction({ body }),
    search: (resourceType, searchParams) => client.search({ resourceType, searchParams }),
  };
};
