from __future__ import annotations

import importlib
import io
import json
import logging
import pkgutil
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import proxy
from proxy.cli.logs import DEBUG_SHOWS, LIBRARIES, JsonFormatter, TextFormatter, clean, set_up_logging
from proxy.errors import ProxyError
from proxy.exchange_lines import is_plain, json_line, text_line
from proxy.exchange_log import ExchangeRecord
from proxy.model import Classified, FinishedExchange, Interaction

JWT = "eyJ0eXAiOiJKV1QifQ.eyJzdWIiOiJub3QifQ.c2lnbmF0dXJl"


def logged(level: str = "info", log_format: str = "text") -> io.StringIO:
    stream = io.StringIO()
    set_up_logging(level, log_format, stream)
    return stream


def test_level_is_that_of_the_program_alone() -> None:
    stream = logged("debug")
    logging.getLogger("proxy.forwarding").debug("ours")
    logging.getLogger("other").info("theirs")

    assert stream.getvalue().endswith(" DEBUG   ours\n")
    assert "theirs" not in stream.getvalue()


@pytest.mark.parametrize("library", LIBRARIES)
def test_library_is_silent_below_errors(library: str) -> None:
    stream = logged("debug")
    logging.getLogger(f"{library}.part").warning("noise")

    assert "noise" not in stream.getvalue()


def loggers_of_libraries() -> list[str]:
    """All that exist once everything that the program can load is loaded."""
    for module in pkgutil.walk_packages(proxy.__path__, "proxy."):
        if module.name != "proxy.__main__":
            importlib.import_module(module.name)
    importlib.import_module("azure.identity")
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] != "proxy"]
    return ["", "py.warnings", "a.library.to.come", *sorted(names)]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_library_tells_at_debug_what_it_knows(monkeypatch: pytest.MonkeyPatch, log_format: str) -> None:
    stream = logged("debug", log_format)
    first = stream.getvalue()
    names = loggers_of_libraries()
    assert {"msal.application", "urllib3.connectionpool", "aiohttp.server", "azure.identity"} <= set(names)
    for name in names:
        logger = logging.getLogger(name)
        for log in (logger.debug, logger.info, logger.warning, logger.error):
            log("GET %s", "/Patient/7?name=Chalmers")
        try:
            int("Patient/7 Chalmers")
        except ValueError:
            logger.exception("failed for %s", "Chalmers", stack_info=True)

    assert "Chalmers" not in stream.getvalue()
    assert "Patient" not in stream.getvalue()
    assert first.count("\n") == 1


def test_debugging_says_first_what_it_shows() -> None:
    assert logged("info").getvalue() == ""
    assert logged("debug").getvalue().endswith(f" DEBUG   {DEBUG_SHOWS}\n")


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_library_quotes_nothing_that_a_peer_sent(
    monkeypatch: pytest.MonkeyPatch, library: str, log_format: str
) -> None:
    stream = logged(log_format=log_format)
    # The room of MSAL keeps its records to itself; here it is the net below that counts.
    monkeypatch.setattr(logging.getLogger(library), "propagate", True)
    try:
        int("patient Chalmers")
    except ValueError:
        logging.getLogger(f"{library}.server").exception(
            "Error with %r", b"patient Chalmers", stack_info=True
        )

    assert "Error with %r (ValueError)" in stream.getvalue()
    assert "Chalmers" not in stream.getvalue()
    assert "Traceback" not in stream.getvalue()


def test_own_failure_keeps_its_traceback_without_tokens() -> None:
    stream = logged()
    try:
        int(f"Bearer {JWT}")
    except ValueError:
        logging.getLogger("proxy").exception("broken")

    assert "Traceback" in stream.getvalue()
    assert JWT not in stream.getvalue()


def test_json_line_is_one_object() -> None:
    stream = logged(log_format="json")
    logging.getLogger("proxy.x").warning("a %s", "b\nc")
    line = json.loads(stream.getvalue())

    assert stream.getvalue().count("\n") == 1
    assert (line["level"], line["logger"], line["message"]) == ("warning", "proxy.x", "a b\\x0ac")
    assert line["time"].endswith("+00:00")


def test_json_line_holds_the_traceback_without_tokens() -> None:
    stream = logged(log_format="json")
    try:
        int(JWT)
    except ValueError:
        logging.getLogger("proxy").exception("broken")
    line = json.loads(stream.getvalue())

    assert "ValueError: invalid literal" in line["traceback"]
    assert JWT not in line["traceback"]


CLEANED = [
    ("plain words", "plain words"),
    ("two\r\nlines", "two\\x0d\\x0alines"),
    ("\x1b[31mred", "\\x1b[31mred"),
    ("next\x85line\u2028", "next\\x85line\\x2028"),
    (f"got {JWT}, sent", "got ********, sent"),
    ("Authorization: Bearer abcdefghij0123456789-._~+/==", "Authorization: ********"),
    ("basic YWxhZGRpbjpvcGVuc2VzYW1l", "********"),
    ('Bearer authorization_uri="https://a/t"', 'Bearer authorization_uri="https://a/t"'),
    ("Zoë", "Zoë"),
]


@pytest.mark.parametrize(("message", "expected"), CLEANED)
def test_message_is_one_line_without_tokens(message: str, expected: str) -> None:
    assert expected == clean(message)


TOKEN_WORDS = ["Basic", "bearer", f"Bearer {JWT}", JWT, JWT.partition(".")[0]]
SERVERS = ["example.azurehealthcareapis.com", "fhir.example:8443", "[::1]:8080", "eyjhbgcioijub25lin0.basic"]

# What `rules.interactions` and `rules.correlation` let through.
classified = st.builds(
    Classified,
    st.sampled_from(Interaction),
    st.sampled_from(["", "Patient", "Basic", "Bearer"])
    | st.from_regex("[A-Z][A-Za-z]{1,63}", fullmatch=True),
    st.sampled_from(["", "$everything"]) | st.from_regex(r"\$[a-z][a-z0-9-]{0,63}", fullmatch=True),
)
request_ids = st.sampled_from([word.rpartition(" ")[2] for word in TOKEN_WORDS]) | st.from_regex(
    r"[A-Za-z0-9._:-]{1,64}", fullmatch=True
)
exchanges = st.builds(
    FinishedExchange,
    st.none() | classified,
    status=st.integers(200, 599),
    received_bytes=st.integers(0),
    sent_bytes=st.integers(0),
    seconds=st.floats(0, 1e6),
    upstream_seconds=st.none(),
    attempts=st.integers(0, 99),
    request_id=request_ids,
    failed=st.none() | st.builds(ProxyError, st.sampled_from(TOKEN_WORDS) | st.text()),
)
moments = st.floats(0, 4e9)


def record_of(exchange: FinishedExchange, server: str, created: float) -> logging.LogRecord:
    """The same as one of the records that logging makes itself."""
    interaction = str(exchange.classified or exchange.kind)
    record = logging.makeLogRecord(
        {
            "name": "proxy.forwarding",
            "levelno": logging.WARNING if exchange.failed else logging.INFO,
            "levelname": "WARNING" if exchange.failed else "INFO",
            "msg": "%s %d %dB %.0fms%s (in=%dB attempts=%d id=%s server=%s)",
            "created": created,
            "fields": {
                "server": server,
                "interaction": interaction,
                "status": exchange.status,
                "bytes_in": exchange.received_bytes,
                "bytes_out": exchange.sent_bytes,
                "milliseconds": round(exchange.seconds * 1000, 1),
                "attempts": exchange.attempts,
                "request_id": exchange.request_id,
            },
        }
    )
    record.args = (
        *(interaction, exchange.status, exchange.sent_bytes, exchange.seconds * 1000),
        f": {exchange.failed.message}" if exchange.failed else "",
        *(exchange.received_bytes, exchange.attempts, exchange.request_id, server),
    )
    return record


@given(exchanges, st.sampled_from(SERVERS), moments)
def test_short_way_of_an_exchange_ends_where_the_general_one_does(
    exchange: FinishedExchange, server: str, created: float
) -> None:
    record = ExchangeRecord(exchange, server)
    record.created = created
    general = record_of(exchange, server, created)
    text, by_json = logging.Formatter.format(TextFormatter(), general), JsonFormatter().format(general)

    assert (text, by_json) == (TextFormatter().format(record), JsonFormatter().format(record))
    if is_plain(exchange):
        assert (text, by_json) == (text_line(exchange, server, created), json_line(exchange, server, created))


@given(moments)
@example(1_700_000_000.9999999)
@example(1_700_000_000.0009999)
@example(1_700_000_000.0)
def test_json_time_is_that_of_datetime(created: float) -> None:
    line = json.loads(JsonFormatter().format(logging.makeLogRecord({"created": created})))

    assert datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds") == line["time"]


@given(st.text(), moments)
def test_text_line_is_that_of_loggings_own_way(message: str, created: float) -> None:
    record = logging.makeLogRecord({"msg": message, "levelname": "INFO", "created": created})

    assert logging.Formatter.format(TextFormatter(), record) == TextFormatter().format(record)
