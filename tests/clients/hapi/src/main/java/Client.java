import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.client.apache.GZipContentInterceptor;
import ca.uhn.fhir.rest.client.api.IGenericClient;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.CapabilityStatement;
import org.hl7.fhir.r4.model.IdType;
import org.hl7.fhir.r4.model.Observation;
import org.hl7.fhir.r4.model.Patient;
import org.hl7.fhir.r4.model.Reference;
import org.hl7.fhir.r4.model.Resource;

/**
 * The tour of tests/clients/tours.py, made by HAPI's generic client. Arguments: base URL, tag, and XML where its
 * bodies are to be that, and gzipped.
 */
public final class Client {
    private static final String TAGS = "https://tour.example/tag";

    private final IGenericClient client;
    private final String base;
    private final String tag;

    private Client(String base, String tag, boolean isXml) {
        this.client = FhirContext.forR4Cached().newRestfulGenericClient(base);
        if (isXml) {
            this.client.setEncoding(EncodingEnum.XML);
            this.client.registerInterceptor(new GZipContentInterceptor());
        }
        this.base = base;
        this.tag = tag;
    }

    public static void main(String[] arguments) throws Exception {
        Client tour = new Client(arguments[0], arguments[1], List.of(arguments).contains("XML"));
        Map<String, Object> report = new LinkedHashMap<>();
        run(report, "sign_in", tour::signIn);
        run(report, "pages", tour::pages);
        run(report, "reference", tour::reference);
        run(report, "write", tour::write);
        run(report, "once", tour::once);
        run(report, "transaction", tour::transaction);
        run(report, "search", tour::search);
        System.out.println(new ObjectMapper().writeValueAsString(report));
    }

    private static void run(Map<String, Object> report, String name, Callable<Object> step) {
        try {
            report.put(name, Map.of("value", step.call()));
        } catch (Exception failure) {
            report.put(name, Map.of("error", failure.getClass().getSimpleName() + ": " + failure.getMessage()));
        }
    }

    private Object signIn() {
        CapabilityStatement capabilities = client.capabilities().ofType(CapabilityStatement.class).execute();
        return capabilities.getRestFirstRep().hasSecurity();
    }

    private Object pages() {
        Bundle page = client.search().forResource(Patient.class).returnBundle(Bundle.class).execute();
        int count = page.getEntry().size();
        while (page.getLink(Bundle.LINK_NEXT) != null) {
            page = client.loadPage().next(page).execute();
            count += page.getEntry().size();
        }
        return count;
    }

    private Object reference() {
        Observation observation =
                client.read().resource(Observation.class).withId("observation-0007-0").execute();
        String reference = observation.getSubject().getReference();
        Patient patient = reference.startsWith("http")
                ? client.read().resource(Patient.class).withUrl(reference).execute()
                : client.read().resource(Patient.class).withId(new IdType(reference)).execute();
        return patient.getIdElement().getIdPart();
    }

    private Object write() {
        Patient patient = new Patient();
        patient.addName().setFamily("Created");
        patient.addIdentifier().setSystem(TAGS).setValue(tag + "-write");
        patient.addLink().setType(Patient.LinkType.SEEALSO).getOther().setReference(base + "/Patient/patient-0001");
        MethodOutcome created = client.create().resource(patient).execute();
        IdType location = (IdType) created.getId();
        Patient found = client.read().resource(Patient.class).withUrl(location).execute();
        found.getNameFirstRep().setFamily("Updated");
        client.update().resource(found).execute();
        Bundle history = client.history()
                .onInstance(location.toUnqualifiedVersionless())
                .returnBundle(Bundle.class)
                .execute();
        return history.getEntry().stream()
                .map(entry -> ((Patient) entry.getResource()).getNameFirstRep().getFamily())
                .toList();
    }

    private Object once() {
        Patient patient = new Patient();
        patient.addIdentifier().setSystem(TAGS).setValue(tag + "-once");
        String condition = "Patient?identifier=" + TAGS + "|" + tag + "-once";
        List<String> ids = List.of(createdOnce(patient, condition), createdOnce(patient, condition));
        return ids.get(0).equals(ids.get(1));
    }

    private String createdOnce(Patient patient, String condition) {
        return client.create().resource(patient).conditionalByUrl(condition).execute().getId().getIdPart();
    }

    private Object transaction() {
        Patient patient = new Patient();
        patient.addIdentifier().setSystem(TAGS).setValue(tag + "-transaction");
        Observation own = observation(new Reference("urn:uuid:0d5a4a3c-9f0a-4b0e-8a52-6f5c5e1f0001"));
        Observation other = observation(new Reference(base + "/Patient/patient-0001"));
        Bundle bundle = new Bundle().setType(Bundle.BundleType.TRANSACTION);
        add(bundle, patient, "urn:uuid:0d5a4a3c-9f0a-4b0e-8a52-6f5c5e1f0001");
        add(bundle, own, "urn:uuid:0d5a4a3c-9f0a-4b0e-8a52-6f5c5e1f0002");
        add(bundle, other, "urn:uuid:0d5a4a3c-9f0a-4b0e-8a52-6f5c5e1f0003");
        return client.transaction().withBundle(bundle).execute().getEntry().stream()
                .map(entry -> read(new IdType(entry.getResponse().getLocation())))
                .toList();
    }

    private String read(IdType location) {
        return (location.isAbsolute()
                        ? client.read().resource(location.getResourceType()).withUrl(location)
                        : client.read().resource(location.getResourceType()).withId(location))
                .execute()
                .fhirType();
    }

    private Observation observation(Reference subject) {
        Observation observation = new Observation();
        observation.setStatus(Observation.ObservationStatus.FINAL).setSubject(subject);
        observation.getCode().setText("Tour");
        observation.addIdentifier().setSystem(TAGS).setValue(tag);
        return observation;
    }

    private static void add(Bundle bundle, Resource resource, String fullUrl) {
        bundle.addEntry()
                .setFullUrl(fullUrl)
                .setResource(resource)
                .getRequest()
                .setMethod(Bundle.HTTPVerb.POST)
                .setUrl(resource.fhirType());
    }

    private Object search() {
        return client.search()
                .byUrl("Observation?subject=" + base + "/Patient/patient-0007")
                .returnBundle(Bundle.class)
                .execute()
                .getEntry()
                .size();
    }
}
