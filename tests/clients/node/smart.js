// The SMART App Launch client: https://github.com/smart-on-fhir/client-js

import smart from "fhirclient";
import { getSecurityExtensions } from "fhirclient/lib/smart.js";

export const open = (base) => {
  const client = smart({}, {}, {}).client(base);
  return {
    wantsSignIn: async () => (await getSecurityExtensions(base)).authorizeUri !== "",
    countPatients: async () => (await client.request("Patient", { pageLimit: 0, flat: true })).length,
    subjectOf: async (id) =>
      (await client.request(`Observation/${id}`, { resolveReferences: "subject" })).subject,
    get: (location) => client.request(location),
    create: (body, headers = {}) => client.create(body, { headers }),
    update: (body) => client.update(body),
    history: (id) => client.request(`Patient/${id}/_history`),
    transaction: (body) =>
      client.request({
        url: "/",
        method: "POST",
        body: JSON.stringify(body),
        headers: { "Content-Type": "application/fhir+json" },
      }),
    search: (type, parameters) => client.request(`${type}?${new URLSearchParams(parameters)}`),
  };
};
