import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.rest.annotation.ConditionalUrlParam;
import ca.uhn.fhir.rest.annotation.Create;
import ca.uhn.fhir.rest.annotation.History;
import ca.uhn.fhir.rest.annotation.IdParam;
import ca.uhn.fhir.rest.annotation.OptionalParam;
import ca.uhn.fhir.rest.annotation.Read;
import ca.uhn.fhir.rest.annotation.ResourceParam;
import ca.uhn.fhir.rest.annotation.Search;
import ca.uhn.fhir.rest.annotation.Update;
import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.api.server.IBundleProvider;
import ca.uhn.fhir.rest.api.server.RequestDetails;
import ca.uhn.fhir.rest.param.ReferenceParam;
import ca.uhn.fhir.rest.param.TokenParam;
import ca.uhn.fhir.rest.server.IResourceProvider;
import ca.uhn.fhir.rest.server.SimpleBundleProvider;
import ca.uhn.fhir.rest.server.exceptions.InvalidRequestException;
import ca.uhn.fhir.rest.server.provider.HashMapResourceProvider;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Objects;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.hl7.fhir.instance.model.api.IIdType;
import org.hl7.fhir.r4.model.IdType;
import org.hl7.fhir.r4.model.Identifier;
import org.hl7.fhir.r4.model.Property;
import org.hl7.fhir.r4.model.Reference;
import org.hl7.fhir.r4.model.Resource;

/**
 * HAPI's resources in memory, with the two things its own provider lacks: conditional create by identifier, and
 * search by identifier and by subject.
 */
public final class Memory<T extends Resource> implements IResourceProvider {
    private static final Pattern IDENTIFIER = Pattern.compile("(?:^|[?&])identifier=([^&]*)");

    private final Class<T> type;
    private final HashMapResourceProvider<T> resources;

    Memory(FhirContext fhir, Class<T> type) {
        this.type = type;
        this.resources = new HashMapResourceProvider<>(fhir, type);
    }

    @Override
    public Class<? extends IBaseResource> getResourceType() {
        return type;
    }

    @Read(version = true)
    public T read(@IdParam IIdType id, RequestDetails request) {
        return resources.read(id, request);
    }

    @Create
    public MethodOutcome create(
            @ResourceParam Resource resource, @ConditionalUrlParam String condition, RequestDetails request) {
        if (condition != null) {
            List<T> found = matching(wanted(condition), null, request).toList();
            if (!found.isEmpty()) {
                return new MethodOutcome(found.get(0).getIdElement(), false).setResource(found.get(0));
            }
        }
        return create(resource, request);
    }

    private static TokenParam wanted(String condition) {
        Matcher identifier = IDENTIFIER.matcher(condition);
        if (!identifier.find()) {
            throw new InvalidRequestException("Conditional creates look at identifiers only");
        }
        TokenParam wanted = new TokenParam();
        String value = URLDecoder.decode(identifier.group(1), StandardCharsets.UTF_8);
        wanted.setValueAsQueryToken(null, "identifier", null, value);
        return wanted;
    }

    MethodOutcome create(Resource resource, RequestDetails request) {
        resource.setId((IIdType) null);
        return resources.create(type.cast(resource), request);
    }

    @Update
    public MethodOutcome update(@ResourceParam Resource resource, RequestDetails request) {
        return resources.update(type.cast(resource), null, request);
    }

    @History
    public List<IBaseResource> history(@IdParam IIdType id, RequestDetails request) {
        return resources.historyInstance(id, request);
    }

    @Search
    public IBundleProvider search(
            @OptionalParam(name = "identifier") TokenParam identifier,
            @OptionalParam(name = "subject") ReferenceParam subject,
            RequestDetails request) {
        return new SimpleBundleProvider(matching(identifier, subject, request).toList());
    }

    private Stream<T> matching(TokenParam identifier, ReferenceParam subject, RequestDetails request) {
        return resources.getStoredResources().stream()
                .filter(resource -> identifier == null || values(resource, "identifier", Identifier.class)
                        .anyMatch(one -> Objects.equals(one.getSystem(), identifier.getSystem())
                                && Objects.equals(one.getValue(), identifier.getValue())))
                .filter(resource -> subject == null || values(resource, "subject", Reference.class)
                        .anyMatch(one -> relative(one.getReference(), request).equals(
                                relative(subject.getValue(), request))));
    }

    /** As Microsoft's server has it: an absolute reference is internal only below the request's own base. */
    private static String relative(String reference, RequestDetails request) {
        String base = request.getFhirServerBase() + "/";
        return reference.startsWith(base) ? reference.substring(base.length()) : reference;
    }

    private static <V> Stream<V> values(Resource resource, String name, Class<V> type) {
        Property property = resource.getNamedProperty(name);
        return property == null ? Stream.empty() : property.getValues().stream().map(type::cast);
    }
}
