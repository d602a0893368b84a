"""The switch between the written and the spoken form, as a visitor uses it."""

import pytest

from tests.browser.conftest import TWO_FRAMES, serve
from tests.browser.test_transcribe import words_of
from tests.ui.fake import FAKE_TEXT
from tests.ui.test_written import WRITTEN_TEXT, WritingRecognizer
from ui.service.engine import Engine


@pytest.fixture(scope="module")
def writing_server(own_upload_folder):
    page, url = serve(Engine(load=WritingRecognizer).start())
    yield url
    page.close()


@pytest.fixture
def page(visit, writing_server, recording):
    page = visit(writing_server)
    page.locator("#recording-file input[type=file]").set_input_files(str(recording))
    page.wait_for_selector("#words .word")
    return page


def choose(page, name: str, expected: str) -> None:
    page.locator("#form").get_by_label(name).check()
    page.wait_for_function("(text) => document.querySelector('#words .card')?.dataset.text === text", arg=expected)


def downloaded(page, name: str) -> str:
    with page.expect_download() as download:
        page.locator(f"#download-{name}").click()
    return download.value.path().read_text("utf-8")


def test_sentences_are_shown_and_the_switch_shows_what_was_spoken(page):
    assert words_of(page) == WRITTEN_TEXT
    assert downloaded(page, "txt") == WRITTEN_TEXT + "\n"
    choose(page, "As spoken", FAKE_TEXT)
    assert words_of(page) == FAKE_TEXT
    page.wait_for_timeout(300)  # the downloads come with the words
    assert downloaded(page, "txt") == FAKE_TEXT + "\n"
    choose(page, "As written", WRITTEN_TEXT)


def test_the_text_to_correct_is_the_one_that_is_shown_and_stays_while_it_is_edited(page):
    page.get_by_role("button", name="Correct the text").click()
    field = page.locator("#edit textarea")
    page.wait_for_function(f"document.querySelector('#edit textarea')?.value === '{WRITTEN_TEXT}'")
    choose(page, "As spoken", FAKE_TEXT)
    page.wait_for_function(f"document.querySelector('#edit textarea')?.value === '{FAKE_TEXT}'")
    field.fill("The Quick brown fox jumped!")
    choose(page, "As written", WRITTEN_TEXT)
    assert field.input_value() == "The Quick brown fox jumped!"
    page.get_by_role("button", name="Apply and align again").click()
    page.wait_for_selector("#message >> text=edited and aligned again")
    assert words_of(page) == "The Quick brown fox jumped!"


def test_names_are_written_as_the_visitor_wants(page):
    page.get_by_role("button", name="Names and terms").click()
    page.evaluate(TWO_FRAMES)
    pairs = page.locator("#replacements textarea")
    pairs.fill("brown fox -> Reynard")
    pairs.blur()
    page.wait_for_selector("#words .word >> text=Reynard")
    pairs.fill("brown fox")
    pairs.blur()
    page.wait_for_selector("#message >> text=Nothing was changed")
    assert "Reynard" in words_of(page)
