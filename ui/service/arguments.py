"""Checks the arguments of the programming interface; an error says in one sentence what is wrong with one."""

from collections.abc import Sequence

import gradio as gr
from gradio.data_classes import FileData
from gradio_client import handle_file
from pydantic import ValidationError

from asr_core.errors import GivenTextError

KINDS = {type(None): "nothing", bool: "true or false", int: "a number", float: "a number", str: "a string"}
KINDS |= {list: "a list", dict: "an object"}


def text(value, name: str, most: int) -> str:
    """A text of at most `most` characters; longer ones are refused and not cut. Raises GivenTextError."""
    if not isinstance(value, str):
        raise GivenTextError(f"{name} must be a string, not {_kind(value)}.")
    if len(value) > most:
        raise GivenTextError(f"{name} has {len(value):,} characters and the limit is {most:,}: send it in parts.")
    return value


def one_of(value, name: str, choices: Sequence[str]) -> str:
    """One of the choices; the first for None. Raises GivenTextError."""
    if value is None:
        return choices[0]
    if not isinstance(value, str) or value not in choices:
        got = f'"{value[:40]}"' if isinstance(value, str) else _kind(value)
        raise GivenTextError(f"{name} must be one of {', '.join(choices)}, not {got}.")
    return value


def number(value, name: str, least: float, most: float, default=None, whole: bool = False):
    """A number in a range, an integer if `whole`; the default for None. Raises GivenTextError."""
    if value is None:
        return default
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not least <= value <= most or (whole and value != int(value)):
        what = "a whole number" if whole else "a number"
        got = (str(value) if len(str(value)) < 20 else "a very large one") if is_number else _kind(value)
        raise GivenTextError(f"{name} must be {what} from {least:g} to {most:g}, not {got}.")
    return int(value) if whole else value


def _kind(value) -> str:
    return KINDS.get(type(value), "something else")


class _Upload(FileData):
    """An uploaded file; other values are refused in one sentence."""

    @classmethod
    def model_validate(cls, value, **options):
        try:
            return super().model_validate(value, **options)
        except ValidationError:
            got = "an object of another kind" if isinstance(value, dict) else _kind(value)
            message = f"recording must be an uploaded file, as handle_file() of gradio_client makes it, not {got}."
            raise gr.Error(message, print_exception=False) from None


def file_input(label: str, example: str) -> gr.File:
    component = gr.File(label=label, type="filepath", visible=False)
    component.example_payload = lambda: handle_file(example)
    component.data_model = _Upload
    return component


def choice_input(label: str, choices: Sequence[str]) -> gr.Dropdown:
    return _unchecked(gr.Dropdown(list(choices), value=choices[0], label=label, visible=False))


def number_input(label: str, value: float | None) -> gr.Number:
    return _unchecked(gr.Number(value, label=label, visible=False))


def text_input(label: str) -> gr.Textbox:
    return _unchecked(gr.Textbox("", label=label, visible=False))


def _unchecked(component):
    """The component without its own conversions: Gradio would turn lists into texts, and hide errors of its own."""
    component.preprocess = lambda payload: payload
    return component
