"""Models load once, in the background, and one that fails can be tried again."""

import threading
import time

import pytest

from asr_core.errors import BundleError, ProcessEnded
from tests.ui.fake import FakeRecognizer
from ui.service.engine import MAX_MODELS, Engine
from ui.tabs.model import model_chip


def test_building_does_not_wait_and_the_first_visitor_is_informed():
    gate = threading.Event()
    engine = Engine(load=lambda name: gate.wait(10) and FakeRecognizer(name)).start()
    assert engine.state() == "loading"
    assert "The model is loading" in model_chip(engine)
    with pytest.raises(BundleError, match="still loading"):
        engine.recognizer(timeout=0.01)
    gate.set()
    assert engine.recognizer(timeout=5).name == "default"
    assert engine.state() == "ready"
    assert "Model: default" in model_chip(engine)


def test_many_visitors_cause_one_load():
    loads = []
    engine = Engine(load=lambda name: loads.append(name) or FakeRecognizer(name)).start()
    threads = [threading.Thread(target=engine.recognizer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["default"]


def test_a_failed_model_is_reported_and_logged_and_may_be_tried_again(caplog):
    answers = iter([BundleError("It is gone."), FakeRecognizer("other")])

    def load(name):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    engine = Engine(load=load)
    with pytest.raises(BundleError, match="gone"):
        engine.recognizer("a/b", timeout=5)
    (said,) = (record for record in caplog.records if record.name == "asr.engine")  # other threads log, too
    assert (said.getMessage(), said.exc_info) == ("The model 'a/b' could not be loaded: It is gone.", False)
    assert engine.recognizer("a/b", timeout=5).name == "other"


@pytest.mark.parametrize(("error", "loads"), [(BundleError("It is gone."), 1), (ProcessEnded("It was ended."), 2)])
def test_the_default_is_tried_again_where_that_may_help(error, loads):
    tried = []

    def load(name):
        tried.append(name)
        raise error

    engine = Engine(load=load)
    for _ in range(2):
        with pytest.raises(type(error)):
            engine.recognizer(timeout=5)
    assert len(tried) == loads


def test_the_default_stays_while_others_are_dropped():
    engine = Engine(load=FakeRecognizer).start()
    first = engine.recognizer()
    for i in range(MAX_MODELS + 2):
        engine.recognizer(f"a/m{i}")
    assert engine.recognizer() is first
    assert engine.state("a/m0") == "absent"


def test_other_models_are_loaded_one_after_the_other_beside_the_default():
    running, most, lock, go = set(), [0], threading.Lock(), threading.Event()

    def load(model):
        with lock:
            running.add(model)
            most[0] = max(most[0], len(running - {"default"}))
        go.wait(10)
        time.sleep(0.05)
        with lock:
            running.discard(model)
        return FakeRecognizer(model)

    engine = Engine(load=load).start()
    loading = [engine.begin(f"name/{i}") for i in range(4)]
    while len(running) < 2:
        time.sleep(0.01)
    go.set()
    assert [future.result(10).name for future in loading] == [f"name/{i}" for i in range(4)] and most == [1]


def test_an_untrained_model_is_called_so():
    engine = Engine(load=lambda name: FakeRecognizer(name, trained=False)).start()
    assert "untrained" in model_chip(engine, wait=True)


def test_a_model_that_cannot_load_leaves_a_page_that_says_so():
    def load(name):
        raise BundleError("No model comes with this copy.")

    chip = model_chip(Engine(load=load).start(), wait=True)
    assert "No model comes with this copy." in chip and "failed" in chip
