"""What a visitor reads when the queue is full."""

import pytest

from tests.browser.conftest import serve
from tests.ui.fake import FakeRecognizer
from ui.service.engine import Engine


@pytest.fixture
def full_server(own_upload_folder):
    """A server, and the gate to its queue: nobody else can get in while the queue has no room."""
    page, url = serve(Engine(load=FakeRecognizer).start())
    yield url, page._queue
    page.close()


def test_a_full_queue_is_reported_in_a_sentence_and_the_page_goes_on(visit, full_server):
    url, queue = full_server
    page = visit(url)
    page.wait_for_selector("text=Model: default")
    room, queue.max_size = queue.max_size, 0
    page.get_by_role("button", name="Example: Joy").click()
    page.wait_for_selector("text=This application is currently busy. Please try again.")
    page.wait_for_selector("#message >> text=Nothing was transcribed")
    queue.max_size = room
    page.get_by_role("button", name="Example: Joy").click()
    page.wait_for_selector("#words .word")
