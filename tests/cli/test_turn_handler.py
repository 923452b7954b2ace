from __future__ import annotations

import asyncio
import io
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from proxy.cli.turn_handler import MOST_WAITING, TurnHandler


class Stream(io.StringIO):
    """Keeps what each write brought; fails where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.failure: Exception | None = None

    def write(self, text: str, /) -> int:
        if self.failure is not None:
            raise self.failure
        self.writes.append(text)
        return len(text)


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def handler(stream: Stream) -> TurnHandler:
    return TurnHandler(stream)


@pytest.fixture
def log(handler: TurnHandler) -> Iterator[logging.Logger]:
    logger = logging.Logger("turn", logging.DEBUG)
    logger.addHandler(handler)
    yield logger
    handler.close()


async def test_lines_of_a_turn_are_one_write(log: logging.Logger, stream: Stream) -> None:
    log.info("one")
    log.debug("two")
    written_within = list(stream.writes)
    await asyncio.sleep(0)
    log.info("three")
    await asyncio.sleep(0)

    assert written_within == []
    assert stream.writes == ["one\ntwo\n", "three\n"]


async def test_warning_is_written_at_once_behind_what_waits(log: logging.Logger, stream: Stream) -> None:
    log.info("one")
    log.warning("two")
    written_within = list(stream.writes)
    log.info("three")
    await asyncio.sleep(0)

    assert written_within == ["one\ntwo\n"]
    assert stream.writes == ["one\ntwo\n", "three\n"]


def test_line_without_a_loop_is_written_at_once(log: logging.Logger, stream: Stream) -> None:
    log.info("one")
    log.info("two")

    assert stream.writes == ["one\n", "two\n"]


async def test_line_of_another_thread_is_written_at_once_behind_what_waits(
    log: logging.Logger, stream: Stream
) -> None:
    def there() -> list[str]:
        log.info("two")
        return list(stream.writes)

    log.info("one")
    # Not awaited before the thread is done: this turn goes on.
    with_thread = asyncio.get_running_loop().run_in_executor(None, there)
    while not stream.writes:
        pass

    assert await with_thread == ["one\ntwo\n"]


async def test_line_of_another_threads_loop_is_written_at_once_behind_what_waits(
    log: logging.Logger, stream: Stream
) -> None:
    async def there() -> None:
        log.info("two")

    log.info("one")
    with_thread = asyncio.get_running_loop().run_in_executor(None, lambda: asyncio.run(there()))
    while not stream.writes:
        pass
    await with_thread

    assert stream.writes == ["one\ntwo\n"]


async def test_no_more_than_the_bound_waits(log: logging.Logger, stream: Stream) -> None:
    for _ in range(MOST_WAITING // 1024):
        log.info("%s", "x" * 1023)
    within = len(stream.writes)
    log.info("one more")

    assert within == 0
    assert [MOST_WAITING + len("one more\n")] == [len(write) for write in stream.writes]


def leave_behind(log: logging.Logger, *messages: str) -> None:
    """Have them logged in the last turn of a loop."""

    def last_turn() -> None:
        for message in messages:
            log.info(message)
        loop.stop()

    loop = asyncio.new_event_loop()
    loop.call_soon(last_turn)
    loop.run_forever()
    loop.close()


def test_what_a_loop_left_behind_is_written_with_the_next_line(log: logging.Logger, stream: Stream) -> None:
    leave_behind(log, "one", "two")
    log.info("three")

    assert stream.writes == ["one\ntwo\nthree\n"]


async def test_what_a_loop_left_behind_is_written_with_a_line_of_the_next_loop(
    log: logging.Logger, stream: Stream
) -> None:
    await asyncio.to_thread(leave_behind, log, "one")
    log.info("two")
    log.info("three")
    await asyncio.sleep(0)

    assert stream.writes == ["one\ntwo\n", "three\n"]


FAILURES = [
    OSError(28, "No space left on device"),
    BlockingIOError(11, "Resource temporarily unavailable"),
    BrokenPipeError(32, "Broken pipe"),
    ValueError("I/O operation on closed file"),
]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
async def test_stream_that_fails_fails_nobody(
    log: logging.Logger,
    stream: Stream,
    monkeypatch: pytest.MonkeyPatch,
    level: int,
    failure: Exception,
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    failed: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    stream.failure = failure
    log.log(level, "lost")
    await asyncio.sleep(0)
    stream.failure = None
    log.log(level, "kept")
    await asyncio.sleep(0)

    assert failed == []
    assert stream.writes == ["kept\n"]


def test_lost_line_is_told_on_stderr_and_not_quoted(
    log: logging.Logger, stream: Stream, capsys: pytest.CaptureFixture[str]
) -> None:
    stream.failure = OSError(28, "No space left on device")
    log.info("of a %s", "patient")
    told = capsys.readouterr().err

    assert "No space left on device" in told
    assert "Lines of the log could not be written." in told
    assert "'patient'" not in told


async def test_line_that_cannot_be_made_is_told_and_loses_no_other(
    log: logging.Logger, stream: Stream, capsys: pytest.CaptureFixture[str]
) -> None:
    log.info("one")
    log.info("%d", "no number")
    log.info("two")
    await asyncio.sleep(0)

    assert stream.writes == ["one\ntwo\n"]
    assert "--- Logging error ---" in capsys.readouterr().err


def printed(script: str) -> str:
    """What a process that logs on stderr prints there."""
    beginning = """
        import asyncio, logging, os, sys
        from proxy.cli.logs import set_up_logging
        set_up_logging("info", "text")
        log = logging.getLogger("proxy")
    """
    words = [sys.executable, "-c", textwrap.dedent(beginning) + textwrap.dedent(script)]
    return subprocess.run(words, stderr=subprocess.PIPE, text=True, check=True, timeout=60).stderr


def test_what_waits_at_the_exit_is_written() -> None:
    lines = printed(
        """
        loop = asyncio.new_event_loop()
        loop.call_soon(lambda: (log.info("the last"), loop.stop()))
        loop.run_forever()
        """
    )

    assert lines.endswith(" INFO    the last\n")


def test_exit_with_a_closed_stderr_is_an_orderly_one() -> None:
    lines = printed(
        """
        async def serve():
            sys.stderr.close()
            log.info("lost")
            log.warning("lost")
        asyncio.run(serve())
        """
    )

    assert lines == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_process_writes_its_own_lines_alone() -> None:
    lines = printed(
        """
        async def serve():
            log.info("the parent's")
            child = os.fork()
            if child == 0:
                log.warning("the child's")
                logging.shutdown()
                os._exit(0)
            os.waitpid(child, 0)
        asyncio.run(serve())
        """
    )

    assert [line.split(maxsplit=2)[2] for line in lines.splitlines()] == ["the child's", "the parent's"]
