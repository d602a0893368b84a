"""Chunks of live audio that arrive together are passed on one by one."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from ui.service.live_chunks import WholeStream


def passed_on(active: bool, read_after: float) -> list[tuple[int, float]]:
    """Sends two chunks at once; (chunk, seconds until it was passed on) of each, if each takes so long to read."""

    async def run():
        event = SimpleNamespace(signal=asyncio.Event(), alive=True, closed=False)
        queue = SimpleNamespace(event_ids_to_events={"ab": event}, active_jobs=[None, [event] if active else None])
        page = SimpleNamespace(_queue=queue)
        loop = asyncio.get_running_loop()
        begun, passed = loop.time(), []

        async def gradio(scope, receive, send):
            passed.append((scope["chunk"], loop.time() - begun))
            event.signal.set()
            loop.call_later(read_after, event.signal.clear)

        app = SimpleNamespace(get_blocks=lambda: page)
        scope = {"type": "http", "method": "POST", "path": "/gradio_api/stream/ab", "app": app}
        await asyncio.gather(*(WholeStream(gradio)(scope | {"chunk": chunk}, None, None) for chunk in (1, 2)))
        return passed

    with ThreadPoolExecutor(1) as thread:  # the browser of other tests has its loop in this one
        return thread.submit(lambda: asyncio.run(run())).result()


def test_the_second_waits_until_the_first_has_been_read():
    (first, soon), (second, late) = passed_on(active=True, read_after=0.3)
    assert (first, second) == (1, 2) and soon < 0.2 < 0.29 < late


def test_those_of_a_visitor_who_waits_for_a_place_hold_no_connection():
    assert passed_on(active=False, read_after=30)[1][1] < 1


def test_a_chunk_that_is_not_read_holds_the_next_for_a_limited_time(monkeypatch):
    monkeypatch.setattr("ui.service.live_chunks.MAX_WAIT_SECONDS", 0.1)
    assert passed_on(active=True, read_after=30)[1][1] < 5
