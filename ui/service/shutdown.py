"""The end: on SIGTERM, as hosts send it, or Ctrl-C, running requests are finished, new ones refused, and files go."""

import logging
import signal
import threading
import time

import gradio as gr
from gradio.server_messages import ProcessCompletedMessage

log = logging.getLogger("asr.shutdown")

FINISH_SECONDS = 5.0  # for what runs and waits; Docker kills ten seconds after it has asked
CLOSE_SECONDS = 2  # for connections that are still open then
STOPPED = "This server is being stopped and could not finish: please try again in a minute."


def serve_until_stopped(page: gr.Blocks) -> None:
    """Returns when a signal has come and the launched page is closed. A second signal ends the program at once."""
    stopped = threading.Event()

    def stop(number, frame):
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_DFL)
        stopped.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, stop)
    while not stopped.wait(1.0):  # with a timeout, as on Windows no signal would end the waiting
        pass
    finished = drain(page, FINISH_SECONDS)
    log.info("Stopped; %s", "every request was answered" if finished else "some requests were cut short")
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it writes a traceback for every connection it cuts
    page.server.config.timeout_graceful_shutdown = CLOSE_SECONDS
    page.server_app.stop_event.set()  # ends the connections that only say that a page is open
    page.close(verbose=False)


def drain(page: gr.Blocks, finish_seconds: float) -> bool:
    """Refuses new requests as a full queue does, waits for the others, and tells those that are not finished in time.

    Returns:
        Whether all were finished.
    """
    queue = page._queue  # Gradio has no public name for it; its own `close` cancels what runs and tells nobody
    queue.max_size = 0
    latest = time.monotonic() + finish_seconds
    while (busy := len(queue) + queue.get_active_worker_count()) and time.monotonic() < latest:
        time.sleep(0.05)
    waiting = [event for events in queue.event_queue_per_concurrency_id.values() for event in events.queue]
    running = [event for events in queue.active_jobs for event in events or ()]
    for event in waiting + running:
        queue.send_message(event, ProcessCompletedMessage(output={"error": STOPPED}, success=False))
    time.sleep(0.5 if busy else 0.1)  # the loop of the server, in its own thread, looks around ten times a second
    return not busy
