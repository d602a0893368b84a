"""Shuts the server down on SIGTERM or Ctrl-C: running requests are finished, new ones refused, and files deleted."""

import logging
import signal
import threading
import time

import gradio as gr
from gradio.server_messages import ProcessCompletedMessage

log = logging.getLogger("asr.shutdown")

FINISH_SECONDS = 5.0  # for running and queued requests: Docker kills a process ten seconds after SIGTERM
CLOSE_SECONDS = 2  # for connections that are still open after that
STOPPED = "This server is being stopped and could not finish: please try again in a minute."


def serve_until_stopped(page: gr.Blocks) -> None:
    """Waits for a signal, closes the launched page and returns. A second signal ends the program at once."""
    stopped = threading.Event()

    def stop(number, frame):
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_DFL)
        stopped.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, stop)
    while not stopped.wait(1.0):  # with a timeout: on Windows a signal does not interrupt a wait without one
        pass
    finished = drain(page, FINISH_SECONDS)
    log.info("Stopped; %s", "every request was answered" if finished else "some requests were cut short")
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # else a traceback for each closed connection
    page.server.config.timeout_graceful_shutdown = CLOSE_SECONDS
    page.server_app.stop_event.set()  # ends the heartbeat connections of open pages
    page.close(verbose=False)


def drain(page: gr.Blocks, finish_seconds: float) -> bool:
    """Refuses new requests like a full queue, waits for the others, and sends an error to those not finished in time.

    Returns:
        Whether all were finished.
    """
    queue = page._queue  # not public; Gradio's own `close` cancels running requests without a message
    queue.max_size = 0
    deadline = time.monotonic() + finish_seconds
    while (busy := len(queue) + queue.get_active_worker_count()) and time.monotonic() < deadline:
        time.sleep(0.05)
    waiting = [event for events in queue.event_queue_per_concurrency_id.values() for event in events.queue]
    running = [event for events in queue.active_jobs for event in events or ()]
    for event in waiting + running:
        queue.send_message(event, ProcessCompletedMessage(output={"error": STOPPED}, success=False))
    time.sleep(0.5 if busy else 0.1)  # the server thread sends messages ten times a second
    return not busy
