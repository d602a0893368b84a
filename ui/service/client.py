"""`ClientGone`: ends the work for a visitor or a program that no longer waits for its result."""

from gradio.context import LocalContext


class ClientGone:
    """A cancel flag for the event that this thread handles: set once its client has left or cancelled it.

    Outside an event of a served page it is never set.
    """

    def __init__(self):
        queue = getattr(LocalContext.blocks.get(None), "_queue", None)
        # not public, but nothing else shows that a client is gone
        self._events = getattr(queue, "event_ids_to_events", {})
        self._event = self._events.get(LocalContext.event_id.get(None))

    def is_set(self) -> bool:
        return self._event is not None and not (self._event.alive and self._event._id in self._events)
