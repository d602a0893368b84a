"""`WholeStream`: no chunk of live audio is lost where several arrive at once, as over a mobile network that stalls.

Gradio keeps one chunk for each stream: one that arrives before the last has been read replaces it.
"""

import asyncio
import re

STREAM = re.compile(r"/stream/([0-9a-f]+)$")  # the path to which chunks are sent, with the id of the stream's event
MAX_WAIT_SECONDS = 10.0  # of a chunk; browsers keep few connections open, and the next chunks wait for one
POLL_SECONDS = 0.02


class WholeStream:
    """ASGI middleware that holds each chunk of a stream back until Gradio has read the one before it."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        match = STREAM.search(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        event = match and _running_event(scope["app"].get_blocks(), match[1])
        if event is None:
            return await self.app(scope, receive, send)
        in_order = event.__dict__.setdefault("in_order", asyncio.Lock())
        async with in_order:
            await _wait_until_read(event)
            await self.app(scope, receive, send)


def _running_event(page, name: str):
    """The event of a stream that is served; None if it is unknown, or waits until another visitor has stopped."""
    queue = page._queue  # not public, but nothing else shows whether a chunk has been read
    event = queue.event_ids_to_events.get(name)
    return event if any(event in (events or ()) for events in queue.active_jobs) else None


async def _wait_until_read(event) -> None:
    """Waits until a stream has no unread chunk, or has been closed, but no longer than MAX_WAIT_SECONDS."""
    loop = asyncio.get_running_loop()
    end = loop.time() + MAX_WAIT_SECONDS
    while event.signal.is_set() and event.alive and not event.closed and loop.time() < end:
        await asyncio.sleep(POLL_SECONDS)
    for _ in range(10):  # Gradio clears the signal a few turns of the loop before it reads the chunk
        await asyncio.sleep(0)
