"""A local authenticating reverse proxy for FHIR servers.

A tool speaks plain, unauthenticated FHIR to ``http://localhost:8080``; the proxy signs in to Microsoft Entra
ID, attaches the token and makes the real server look local.

Rooms (each imports only from those below it; import-linter holds the order, see pyproject.toml)::

    __main__        python -m proxy
    cli/            what a person types: one file per command
    doctor/         walks the road of a request and judges each step; `cli` prints the verdicts
    serving.py      the process: all servers and the admin listener, until a stop
    reload.py       settings taken anew while requests come
    workers/        several processes that serve together, and the one that keeps them running
    servers.py      all servers of a configuration: started, changed, stopped together
    server.py       one server at its listener: start, change, drain, stop
    listening.py    what lives as long as a listener: sockets and connections
    service.py      what one server's settings give: rules, sign-in, connections
    tracing/        spans of exchanges for OpenTelemetry, where somebody wants them   RIM (opentelemetry)
    signals.py      what the system asks of the process
    passage.py      one exchange from the tool to the server and back, where it waits for its answer alone
    forwarding.py   where it has to wait for more
    sites.py        what the exchanges of one server share
    exchange_log.py  what is logged of an exchange, and as whose record
    exchange_lines.py  its line, as text and as JSON
    pacing.py       a server that asks for patience
    patience.py     wait for it
    admin/          the other listener: health, metrics, status, sign-in page    RIM (aiohttp)
    client.py       the tool's side: its request, its answer
    client_upload.py  waiting for a tool: for its request's body, and until it takes its answer
    client_connection.py  one connection of a tool; plain requests are answered there
    client_exchanges.py  its exchanges that have to wait
    client_requests.py  a plain request with its body, as far as that has come
    client_aiohttp.py  all other requests, loaded when the first one comes       RIM (aiohttp)
    stepping.py     an exchange goes on within the call that brings its answer, without a task of its own
    open_files.py   how many connections the system lets the process have
    client_heads.py  how much of a request's head is taken in before its end
    client_limits.py  how long a tool is waited for, how many connections it may have
    local_key.py    the key that tools have to show, where one is asked for
    tcp_listener.py  the sockets of a listener: all loopback addresses, one port
    port_holder.py  which process holds a port that is taken
    unix_listener.py  a listener that file permissions guard
    upstream/       the connections to the real server: pool, phases, limits     RIM (httptools)
    auth/           one file per way to obtain credentials; cache.py around all  RIM (msal in two files)
    sandbox/        an Entra-like tenant and a FHIR server, for `demo` and tests; knows nothing of the proxy
    trust.py        whom TLS trusts, and what a certificate that fails means
    rules/          every decision about one exchange; no I/O, no clock, no await
      exchange.py       the decisions of one request and its answer, in order
      plain_requests.py  the head of a request that needs no other parser than llhttp   (httptools)
      answer_heads.py   the head of an answer as the tool gets it
      guards.py         reasons to refuse a request
      listener.py       how a listener may be called: names, web pages, key
      origins.py        what web pages of allowed origins are told (CORS)
      interactions.py   method + path -> FHIR interaction
      usual_targets.py  both of it at once, for almost every request
      policy.py         which interactions the settings let pass
      urls.py           local base URL <-> upstream base URL
      spellings.py      the ways in which a URL is written
      needles.py        what all of them share, looked for first
      rewriting.py      those URLs inside a body that comes in chunks
      json_places.py    which element a string of JSON belongs to
      open_brackets.py  the brackets around it
      called_by_server.py  bodies that would make the server call this proxy
      spellings.py      how they can be written, and how to find them
      respelling.py     one of them written as another was
      marks.py          how an odd spelling survives in a local URL
      key_paths.py      host-relative URLs of tools that show a key in the path
      bodies.py         the way of a body: decoded, then rewritten
      binaries.py       whether a body is FHIR, or a Binary's content
      coding.py         content codings, decoded where a body must be read
      headers.py        which fields cross the proxy, and how they change
      no_proxy.py       which servers NO_PROXY takes out of the corporate proxy
      echoes.py         the token that a server quotes goes no further
      representations.py  what is said of a body that changes on the way
      retries.py        what may be sent again, and when
      storage.py        a file in a storage account, the other place that an exchange can be with
      storage_refusals.py  what to tell when there is none
      challenges.py     WWW-Authenticate -> Challenge
      claims.py         what a token says of itself, for people
      correlation.py    the id by which an exchange is found again
      audiences.py      whom a token is for, and what to say when the server expects another
      tokens.py         what a token says of itself, and what is off about it
      accounts.py       who has signed in, and whether the settings let them
      scopes.py         the scopes that a server says it needs
      vocabulary.py     the words of FHIR itself, which name nobody
      capabilities.py   hide the server's own OAuth from tools
      outcome.py        ProxyError -> OperationOutcome
    config/         text -> Config, or ConfigError naming every wrong key
    model.py        the values that travel between rooms
    fields.py       header lines, and what follows from their names alone
    errors.py       every failure: its status, its FHIR issue code, its hint

What almost every exchange passes through and never waits is compiled by mypyc where the program is installed, and runs
as it stands here where nothing could be compiled. pyproject.toml lists it, hatch_build.py does it.

The path of one request::

     1. The tool calls http://localhost:PORT/Patient?...; `server` accepts.
     2. `passage` takes the head as it came (method, raw target, fields) as a RequestHead. It carries the exchange
        on to its end, unless something has to be waited for; then `forwarding` does, from where it is.
     3. exchange_of(head, rules) runs the guards and names the interaction: with the server, or for a file in a
        storage account, which has credentials and connections of its own. Refused: nothing has been sent.
     4. Authenticator.credentials(): from the cache, or acquired once for all who wait; None for an anonymous
        server. Failed: still nothing sent.
     5. exchange.upstream_request(credentials): target mapped, hop-by-hop and client-only fields dropped,
        `Authorization` set.
     6. Send, the body streaming through exchange.request_path().
     7. On a 401 to our own credentials, once, and if the body can be sent again: new credentials, step 5.
        On a 429 or 503 that says when: `retries` decides whether `pacing` waits and step 5 comes again.
     8. exchange.client_response(head): hop-by-hop dropped; Location, Content-Location, Link mapped.
     9. Stream the body through the path that comes with it; flush; end.
    10. A ProxyError before step 8 becomes its status with an OperationOutcome. After the head has gone out
        the connection is cut, so that the client sees the truncation, and the failure is logged once.
"""

__version__ = "0.1.0"
