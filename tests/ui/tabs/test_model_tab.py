"""The Model tab: known models, names that may be loaded, descriptions, and two models on one recording."""

import dataclasses
import re
import threading
import time
from concurrent.futures import Future

import gradio as gr
import pytest

from asr_core.errors import BundleError, Cancelled
from tests.ui.fake import FAKE_TEXT, FakeRecognizer
from ui.service.catalogue import KNOWN_MODELS
from ui.service.clip import ClipAudio, ClipRegistry
from ui.service.engine import Engine
from ui.service.jobs import CurrentRequest
from ui.service.languages import language_name
from ui.service.requests import Limits
from ui.tabs.model import REPOSITORY, ModelTab, checked_name
from ui.widgets.model_card import known_models, model_card
from ui.widgets.tiles import tile
from ui.widgets.timeline import requested_tile

OTHER_TEXT = "another text"


@pytest.fixture
def engine():
    def load(name):
        loads.append(name)
        if name == "name/missing":
            raise BundleError("There is no such model.")
        return FakeRecognizer(name, OTHER_TEXT if name == "name/other" else FAKE_TEXT)

    loads = []
    engine = Engine(load=load).start()
    engine.loads = loads
    return engine


@pytest.fixture
def tab(engine):
    with gr.Blocks():
        yield ModelTab(engine, ClipRegistry(), gr.State(None), gr.State(None), Limits(), model_paths=False)


def test_known_models_can_be_loaded_by_their_name_and_give_language_size_and_source():
    assert len({model.repository for model in KNOWN_MODELS}) == len(KNOWN_MODELS) > 20
    page = known_models()
    for model in KNOWN_MODELS:
        assert REPOSITORY.fullmatch(model.repository)
        assert model.repository in page and model.megabytes > 100
        assert language_name(model.language) != model.language  # the name is known
        assert bool(model.published) == bool(model.source)


@pytest.mark.parametrize(
    "code, name", [("en", "English"), ("zh-CN", "Chinese"), ("pt_BR", "Portuguese"), ("xx", "xx"), (None, "")]
)
def test_languages_have_names(code, name):
    assert language_name(code) == name


def test_the_card_names_language_and_size_and_warns_of_licences_that_forbid_commercial_use():
    bundle = FakeRecognizer("name/mms").bundle
    bundle.config |= {"language": "ko", "licence": "cc-by-nc-4.0"}
    bundle.bytes, bundle.notes = 3_500_000, ("It names code of its own, which is not run.",)
    card = re.sub("<.*?>", " ", model_card(bundle))
    assert "Korean" in card and "3.5 MB" in card and "which is not run" in card
    assert "Not for commercial use" in card and "English only" not in card
    assert "Not for commercial use" not in model_card(FakeRecognizer("name/free").bundle)


def test_two_models_are_shown_on_one_time_axis(tab, clip):
    *_, (shown, pair, timeline) = tab._compare_models("default", "name/other", clip)
    text = re.sub("<.*?>", " ", shown)
    assert FAKE_TEXT in text and OTHER_TEXT in text
    assert timeline["models"] == ["default", "name/other"]
    part = requested_tile(tab.registry, {"token": pair.token, "start": 0, "end": clip.seconds, "columns": 100})
    assert " ".join(word[2] for word in part["words"]) == FAKE_TEXT
    assert " ".join(word[2] for word in part["compared"]["words"]) == OTHER_TEXT
    assert part["compared"]["emissions"]["count"] == part["emissions"]["count"]
    assert tile(clip, 0, clip.seconds, 100)["compared"] is None
    assert pair.audio is clip.audio  # nothing is copied


def test_the_comparison_of_a_recording_goes_when_another_is_opened(tab, clip):
    *_, (_, pair, _) = tab._compare_models("default", "name/other", clip)
    kept = tab._opened(dataclasses.replace(clip, edited=True), pair)
    assert all(isinstance(update, dict) for update in kept), "the same recording: nothing changes"
    other = dataclasses.replace(clip, audio=ClipAudio(clip.audio.samples / 32768, 16_000))
    assert tab._opened(other, pair) == tab._opened(None, pair) == ("", None, None)


def test_a_model_that_cannot_be_compared_leaves_a_sentence(tab, clip):
    for second, sentence in (("name/missing", "There is no such model."), ("../x", "is not a Hub repository")):
        *_, (shown, pair, timeline) = tab._compare_models("default", second, clip)
        assert sentence in shown and pair is None and timeline is None
    *_, (shown, _, _) = tab._compare_models("default", "name/other", None)
    assert "No recording is open" in shown


def test_a_model_whose_output_would_fill_the_memory_is_not_compared(tab, clip):
    tab.limits = Limits(emission_megabytes=0)
    *_, (shown, pair, _) = tab._compare_models("default", "name/other", clip)
    assert "takes too much memory" in shown and pair is None


def test_two_models_stop_transcribing_when_the_visitor_leaves(tab, clip, monkeypatch):
    begun, cancelled = threading.Event(), threading.Event()

    def recognize(path, progress, cancel):
        progress(0.5)
        begun.set()
        while not cancel.is_set():
            time.sleep(0.01)
        cancelled.set()
        raise Cancelled()

    monkeypatch.setattr(tab.engine.recognizer(), "recognize", recognize)
    updates = tab._compare_models("default", "name/other", clip)
    shown, _, _ = next(updates)
    assert "default transcribes" in shown and begun.is_set()
    updates.close()  # as Gradio does
    assert cancelled.wait(10)


def test_a_model_that_loads_is_announced(tab):
    *_, (model, shown) = tab._load("name/other", CurrentRequest())
    assert model == "name/other" and "now transcribes your recordings" in shown
    *_, (model, shown) = tab._load("name/missing", CurrentRequest())
    assert model == gr.skip() and "There is no such model." in shown
    assert tab.engine.loads.count("name/missing") == 1  # not tried again to find the reason


def test_the_latest_choice_of_a_model_counts(tab):
    latest, slow = CurrentRequest(), Future()
    tab.engine._recognizers["name/slow"] = slow
    updates = tab._load("name/slow", latest)
    model, shown = next(updates)
    assert model == gr.skip() and "is loading" in shown
    assert tab._use_default(latest) == (None, "")
    slow.set_result(FakeRecognizer("name/slow"))
    assert list(updates) == [(gr.skip(), gr.skip())]


def test_a_download_shows_its_bytes(tab):
    tab.engine._downloads["name/slow"] = (120_000_000, 378_000_000)
    loading = Future()
    updates = tab._loading("name/slow", loading)
    assert "120 of 378 MB" in next(updates)
    loading.set_result(None)
    assert list(updates) == []


@pytest.mark.parametrize(
    "name", ["", "x", "/etc", "../a", "a/../b", "a/b/c", "http://x/y", "a b/c", "tests/ui", "tests/ui#en"]
)
def test_without_permission_only_hub_repositories_can_be_named(name):
    with pytest.raises(BundleError):
        checked_name(name, model_paths=False)


def test_with_permission_paths_can_be_named():
    assert checked_name(" runs/best ", model_paths=True) == "runs/best"
    assert checked_name("name/repo@v1", model_paths=False) == "name/repo@v1"


def test_the_card_shows_one_line_for_each_corpus_and_a_column_for_each_decoder():
    bundle = FakeRecognizer("mine").bundle
    measured = [("a", "greedy", 0.4), ("b", "greedy", 0.5), ("a", "beam", 0.2)]
    bundle.config["evaluation"] = [{"dataset": d, "split": "valid", "decoder": by, "wer": w} for d, by, w in measured]
    bundle.config["evaluation"][0] |= {"wer_low": 0.35, "wer_high": 0.45}
    card = model_card(bundle).split("</caption>")[1].split("</table>")[0]
    cells = [re.sub("<.*?>", " ", cell).split() for cell in re.findall(r"<t[hd][ >].*?</t[hd]>", card)]
    assert cells[:3] == [["Word", "errors", "on", "(and", "95", "%", "interval)"], ["greedy"], ["beam"]]
    assert cells[3:] == [["a", "valid"], ["40.0", "%", "35–45"], ["20.0", "%"], ["b", "valid"], ["50.0", "%"], []]
