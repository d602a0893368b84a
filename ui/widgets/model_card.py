"""The description of a model: facts, error rates, training data, and what it cannot do."""

from ui.service.catalogue import KNOWN_MODELS
from ui.service.languages import language_name
from ui.widgets.markup import Html, join, notice, percent, table, tag

LIMITS_OF_ENGLISH_MODEL = (
    "English only. It is a small network trained on little data: names, rare words, strong accents, several people at "
    "once, music and noise cause many errors. Confidence does not prove that a word is right. Do not use it "
    "where a mistake can do harm."
)
LIMITS_OF_OTHERS = (
    "This model does not come with the app: its card describes its training data and error rates. Its confidence may "
    "not be calibrated; then it is not the probability that a word is right. Do not use it where a mistake can do harm."
)
TEXTS = "The language models were trained on"
NON_COMMERCIAL = ("-nc", "non-commercial", "noncommercial")  # in names of licences


def model_card(bundle) -> Html:
    """The description of a bundle (`asr_core.bundle.bundle.Bundle`), without the parts that it lacks."""
    config = bundle.config
    licence = str(config.get("licence") or "not stated")
    facts = [
        ("Language", language_name(config.get("language")) or "not stated"),
        ("Architecture", config["architecture"]["name"]),
        ("Parameters", parameters(config)),
        ("Size", f"{bundle.bytes / 1e6:,.1f} MB" if bundle.bytes else ""),
        ("Front end", config["featurizer"]["name"]),
        ("Sample rate", f"{config['sample_rate'] / 1000:g} kHz"),
        ("Licence", licence),
    ]
    parts = [
        tag("h2", config.get("name", bundle.name), class_="section-title"),
        tag("p", config["description"], class_="lead") if config.get("description") else None,
        tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts if value], class_="facts"),
    ]
    parts += [notice("About this model", note, kind="warning") for note in bundle.notes]
    if any(mark in licence.lower() for mark in NON_COMMERCIAL):
        text = f"Its licence, {licence}, does not allow commercial use."
        parts.append(notice("Not for commercial use", text, kind="warning"))
    if not bundle.trained:
        text = "This network has not learned to transcribe. What it writes shows how the page works and nothing else."
        parts.append(notice("Untrained", text, kind="warning"))
    parts.append(_evaluation(config.get("evaluation")))
    parts.append(_training(config.get("training_data"), "Trained on" if bundle.checkpoint else TEXTS))
    limits = LIMITS_OF_ENGLISH_MODEL if bundle.name == "default" else LIMITS_OF_OTHERS
    parts.append(notice("What it cannot do", limits, kind="warning"))
    return tag("div", join(part for part in parts if part), class_="card stack")


def known_models() -> Html:
    """The table of the models that visitors can choose."""
    hub = "https://huggingface.co/"
    rows = [
        (
            tag("a", model.repository, href=hub + model.repository, target="_blank", rel="noopener"),
            language_name(model.language).capitalize(),
            f"{model.megabytes:,} MB",
            join([model.published, f" ({model.source})"]) if model.published else "see its card",
            model.remarks,
        )
        for model in KNOWN_MODELS
    ]
    head = ["Model", "Language", "Download", "Published word error rate", "Remarks"]
    return table(head, rows, caption="Known models of the Hub", numeric=[2])


def parameters(config: dict) -> str:
    return f"{config['parameters'] / 1e6:.1f} M" if "parameters" in config else "unknown"


def _evaluation(measured) -> Html:
    if not measured:
        return tag("p", "The model states no error rates.", class_="small")
    decoders = list(dict.fromkeys(str(one.get("decoder", "")) for one in measured))
    rates: dict[str, dict[str, Html]] = {}  # by data set, then by decoder
    for one in measured:
        name = " ".join(str(one[key]) for key in ("dataset", "split") if one.get(key))
        rates.setdefault(name, {})[str(one.get("decoder", ""))] = _rate(one)
    rows = [(name, *(of_set.get(decoder, "") for decoder in decoders)) for name, of_set in rates.items()]
    head = ["Word errors on (and 95 % interval)", *decoders]
    return table(head, rows, caption="Word error rates and their 95 % intervals", numeric=range(1, len(head)))


def _rate(one: dict) -> Html:
    """The word error rate, and below it its confidence interval if there is one."""
    low, high = (one.get(end) for end in ("wer_low", "wer_high"))
    known = isinstance(low, (int, float)) and isinstance(high, (int, float))
    interval = tag("small", f"{100 * low:.0f}–{100 * high:.0f}") if known else Html()
    return join([tag("div", _share(one.get("wer"))), interval])


def _training(data, without_hours: str) -> Html:
    """Tables of the training data; `without_hours` is the heading of those whose hours are not given."""
    if not data:
        return tag("p", "The model does not state its training data.", class_="small")
    speech, texts = [], []
    for one in data:
        named, licence = one.get("name", ""), one.get("licence", "")
        if isinstance(one.get("hours"), (int, float)):
            speech.append((named, f"{one['hours']:.1f} h", licence))
        else:
            texts.append((named, licence))
    speech_table = table(["Trained on", "Speech", "Licence"], speech, caption="Training data", numeric=[1])
    text_table = table([without_hours, "Licence"], texts, caption=without_hours)
    return join([speech_table if speech else None, tag("div", text_table, style="margin-top:16px") if texts else None])


def _share(value) -> str:
    return percent(value, 1) if isinstance(value, (int, float)) else ""
