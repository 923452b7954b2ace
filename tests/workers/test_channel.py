from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from proxy.errors import ConfigError, InternalError, ProxyUnavailable
from proxy.workers.channel import Answer, Channel, Hear
from proxy.workers.wire import Message


@asynccontextmanager
async def joined(answers: Mapping[str, Answer], hears: Mapping[str, Hear]) -> AsyncIterator[Channel]:
    """One end of a channel, whose other end answers and hears."""
    here, there = Channel({}, {}), Channel(answers, hears)
    running = []
    for channel, end in zip((here, there), socket.socketpair(), strict=True):
        await channel.open(end)
        running.append(asyncio.create_task(channel.run()))
    try:
        async with asyncio.timeout(30):
            yield here
    finally:
        here.close()
        await asyncio.gather(*running)


async def echo(message: Message) -> Message:
    return message


async def test_answers_come_to_those_who_asked_in_whatever_order() -> None:
    turns = [asyncio.Event() for _ in range(5)]

    async def answer(message: Message) -> Message:
        number = message["number"]
        assert isinstance(number, int)
        await turns[number].wait()
        return {"square": number * number}

    async with joined({"square": answer}, {}) as channel:
        asked = [channel.ask("square", {"number": number}) for number in range(5)]
        for turn, answered in zip(reversed(turns), reversed(asked), strict=True):
            turn.set()
            await answered

    assert [0, 1, 4, 9, 16] == [answered.result()["square"] for answered in asked]


@pytest.mark.parametrize("text", ["", "ä\n\0", "x" * 3_000_000])
async def test_messages_of_any_size_arrive_whole(text: str) -> None:
    async with joined({"echo": echo}, {}) as channel:
        assert {"text": text} == await channel.ask("echo", {"text": text})


async def test_news_are_heard_in_order_and_before_what_is_asked_later() -> None:
    heard: list[Message] = []

    async def told(_: Message) -> Message:
        return {"heard": len(heard)}

    async with joined({"told": told}, {"news": heard.append}) as channel:
        for number in range(100):
            channel.tell("news", {"number": number})
        assert {"heard": 100} == await channel.ask("told", {})

    assert list(range(100)) == [message["number"] for message in heard]


async def test_failure_is_raised_where_it_was_asked() -> None:
    async def refuse(_: Message) -> Message:
        raise ConfigError("listen = 1 is wrong", hint="Mend it.", retry_after=7)

    async with joined({"refuse": refuse}, {}) as channel:
        with pytest.raises(ConfigError, match="listen = 1 is wrong") as raised:
            await channel.ask("refuse", {})

    assert ("Mend it.", 7) == (raised.value.hint, raised.value.retry_after)


async def test_fault_of_the_other_side_is_an_answer_too_and_in_its_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(message: Message) -> Message:
        return {"text": message["missing"]}

    async with joined({"fail": fail}, {}) as channel:
        with caplog.at_level(logging.ERROR), pytest.raises(InternalError):
            await channel.ask("fail", {})

    assert ["A question of another process of the proxy has no answer."] == caplog.messages


async def test_answer_that_nobody_waits_for_any_more_disturbs_no_other() -> None:
    come = asyncio.Event()

    async def late(message: Message) -> Message:
        await come.wait()
        return message

    async with joined({"late": late, "echo": echo}, {}) as channel:
        channel.ask("late", {}).cancel()
        come.set()
        assert {"a": 1} == await channel.ask("echo", {"a": 1})


async def test_who_waits_for_a_process_that_ends_is_told() -> None:
    async def never(_: Message) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async with joined({"never": never}, {}) as channel:
        waiting = channel.ask("never", {})
        channel.close()
        with pytest.raises(ProxyUnavailable):
            await waiting
        with pytest.raises(ProxyUnavailable):
            await channel.ask("never", {})
        channel.tell("news", {})
