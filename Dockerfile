# syntax=docker/dockerfile:1

FROM python:3.13-slim AS build
WORKDIR /source
# Of others wheels only, which bring their C parsers, each the one whose hash stands in constraints.txt. The compiler is
# for our own, and stays behind.
COPY constraints.txt ./
RUN python -m venv /opt/fhir-auth-proxy \
 && /opt/fhir-auth-proxy/bin/pip install --no-cache-dir --only-binary=:all: --require-hashes -r constraints.txt
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY proxy proxy
RUN FHIR_AUTH_PROXY_PURE=0 pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && /opt/fhir-auth-proxy/bin/pip install --no-cache-dir --no-deps /wheels/*.whl \
 && /opt/fhir-auth-proxy/bin/pip check

FROM python:3.13-slim
LABEL org.opencontainers.image.title="fhir-auth-proxy" \
      org.opencontainers.image.description="Signs in to Microsoft Entra ID, so that any FHIR tool can use a secured FHIR server." \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/fhir-auth-proxy /opt/fhir-auth-proxy
# Nothing is written: no home directory, no byte code, so the root file system may be read-only.
ENV PATH=/opt/fhir-auth-proxy/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A numeric user, so that Kubernetes can verify runAsNonRoot.
USER 65532:65532
WORKDIR /
EXPOSE 8080 8079
# The listener stays on the container's loopback, where a pod's other containers reach it. To publish it, say so:
#   -e FHIR_AUTH_PROXY_LISTEN=0.0.0.0:8080 -e FHIR_AUTH_PROXY_ALLOW_REMOTE=true \
#   -e FHIR_AUTH_PROXY_ALLOWED_HOSTS=localhost -p 127.0.0.1:8080:8080
# since whoever reaches the port acts as you on patient records. Health, readiness and metrics are on 8079; for probes
# from outside: -e FHIR_AUTH_PROXY_ADMIN_LISTEN=0.0.0.0:8079
# The admin listener answers while the event loop runs; no request reaches the server for it.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8079, timeout=3); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["fhir-auth-proxy"]
CMD ["run"]
