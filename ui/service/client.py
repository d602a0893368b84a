"""`ClientGone`: ends the work for a visitor or a program that no longer waits for its result."""

from gradio.context import LocalContext


class ClientGone:
    """A cancel flag for the event that this thread handles: set once its client has closed the connection.

    Outside an event of a served page it is never set.
    """

    def __init__(self):
        blocks, self._event = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
        self._queue = getattr(blocks, "_queue", None)  # not public, but nothing else shows that a client is gone

    def is_set(self) -> bool:
        jobs = [] if self._queue is None else self._queue.active_jobs
        return any(event._id == self._event and not event.alive for events in jobs for event in events or ())
