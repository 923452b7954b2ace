import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.rest.annotation.Transaction;
import ca.uhn.fhir.rest.annotation.TransactionParam;
import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.api.server.RequestDetails;
import ca.uhn.fhir.rest.server.FifoMemoryPagingProvider;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.exceptions.InvalidRequestException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.ServerConnector;
import org.hl7.fhir.r4.model.Binary;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.DocumentReference;
import org.hl7.fhir.r4.model.Encounter;
import org.hl7.fhir.r4.model.IdType;
import org.hl7.fhir.r4.model.Observation;
import org.hl7.fhir.r4.model.Patient;
import org.hl7.fhir.r4.model.Reference;
import org.hl7.fhir.r4.model.Resource;

/**
 * HAPI's own RestfulServer over memory, its address strategy the default one: links as the Host field has them.
 *
 * <p>Prints its base URL when it accepts requests, on a free port of 127.0.0.1, and ends with its standard input.
 */
public final class Server {
    private static final int PAGE = 10;
    private static final int MOST_ON_A_PAGE = 500;

    public static void main(String[] arguments) throws Exception {
        FhirContext fhir = FhirContext.forR4();
        Map<String, Memory<?>> memories = new LinkedHashMap<>();
        for (Class<? extends Resource> type :
                List.of(Patient.class, Encounter.class, Observation.class, DocumentReference.class, Binary.class)) {
            memories.put(type.getSimpleName(), new Memory<>(fhir, type));
        }
        RestfulServer servlet = new RestfulServer(fhir);
        servlet.setResourceProviders(List.copyOf(memories.values()));
        servlet.registerProvider(new Transactions(memories));
        FifoMemoryPagingProvider paging = new FifoMemoryPagingProvider(100);
        paging.setDefaultPageSize(PAGE);
        paging.setMaximumPageSize(MOST_ON_A_PAGE);
        servlet.setPagingProvider(paging);

        org.eclipse.jetty.server.Server jetty = new org.eclipse.jetty.server.Server();
        ServerConnector connector = new ServerConnector(jetty);
        connector.setHost("127.0.0.1");
        jetty.addConnector(connector);
        ServletContextHandler handler = new ServletContextHandler();
        handler.addServlet(new ServletHolder(servlet), "/fhir/*");
        jetty.setHandler(handler);
        jetty.start();
        System.out.println("http://127.0.0.1:" + connector.getLocalPort() + "/fhir");
        while (System.in.read() >= 0) {
            // Only the end of the input matters.
        }
        System.exit(0);
    }

    /** Transactions of entries that create or update; references among them by fullUrl are resolved. */
    public static final class Transactions {
        private final Map<String, Memory<?>> memories;

        Transactions(Map<String, Memory<?>> memories) {
            this.memories = memories;
        }

        @Transaction
        public Bundle process(@TransactionParam Bundle bundle, RequestDetails request) {
            Map<String, Resource> byFullUrl = new LinkedHashMap<>();
            Bundle answer = new Bundle().setType(Bundle.BundleType.TRANSACTIONRESPONSE);
            for (Bundle.BundleEntryComponent entry : bundle.getEntry()) {
                byFullUrl.put(entry.getFullUrl(), entry.getResource());
                MethodOutcome outcome = store(entry, request);
                answer.addEntry().getResponse()
                        .setStatus(outcome.getCreated() ? "201 Created" : "200 OK")
                        // HAPI's JPA server, too, gives this one without the base.
                        .setLocation(outcome.getId().toUnqualified().getValue());
            }
            for (Resource resource : byFullUrl.values()) {
                for (var found : FhirContext.forR4Cached().newTerser().getAllResourceReferences(resource)) {
                    Reference reference = (Reference) found.getResourceReference();
                    Resource target = byFullUrl.get(reference.getReference());
                    if (target != null) {
                        reference.setResource(null);
                        reference.setReference(target.getIdElement().toUnqualifiedVersionless().getValue());
                    }
                }
            }
            return answer;
        }

        private MethodOutcome store(Bundle.BundleEntryComponent entry, RequestDetails request) {
            Memory<?> memory = memories.get(entry.getResource().fhirType());
            return switch (entry.getRequest().getMethod()) {
                case POST -> memory.create(entry.getResource(), request);
                case PUT -> {
                    entry.getResource().setId(new IdType(entry.getRequest().getUrl()).toUnqualifiedVersionless());
                    yield memory.update(entry.getResource(), request);
                }
                default -> throw new InvalidRequestException("Transactions create and update only");
            };
        }
    }
}
