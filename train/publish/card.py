"""A bundle's config -> its model card, the README.md that people read here and on the Hub.

    python -m train.publish.card assets/default --data train.jsonl --licence cc-by-sa-4.0

records the training data in the bundle's config and writes the card into the bundle.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from asr_core.bundle.description import PRONUNCIATIONS
from asr_core.errors import AsrError
from asr_core.storage import replace_file
from train.options import DONE, FAILED, in_words, stoppable

TASK = "automatic-speech-recognition"
HUB_LICENCES = (  # licences of speech models in the Hub's list; the Hub calls any other one "other"
    "apache-2.0 mit bsd-3-clause cc0-1.0 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-4.0 "
    "gpl-3.0 lgpl-3.0 mpl-2.0 unlicense openrail"
).split()
SNIPPET = """\
from asr_core.bundle import load_bundle
from asr_core.recognizer import Recognizer

recognizer = Recognizer(load_bundle({model}))
transcript = recognizer.transcribe("recording.wav")
print(transcript.text)
"""
DICTIONARY = (
    "An inner layer was trained on phones, with pronunciations from the CMU Pronouncing Dictionary (Carnegie Mellon "
    "University, terms like those of BSD-2-Clause)."
)
SMALL_PARAMETERS = 30_000_000  # of a network that the card calls small
LIMITS = """\
- {language}Capitals, punctuation and figures are added to what the network writes only if the bundle has
  `tagger.safetensors`. Speakers are neither separated nor named.
- {size}Rare words and names are often misspelt. Speakers far from the microphone, several speakers at once, singing,
  music and noise cause many errors.
- A confidence is the share of words with this confidence that were correct on the validation set. It does not show
  whether a particular word is correct.
- It does not know which errors matter: do not rely on it where an error can do harm."""
BIASES = """\
Speakers who resemble those of the training data are recognised better. {differences}Voices that are rare in the
training data (old people, speech impairments, regional accents that the table of training data does not name) were not
measured. Expect more errors there, and measure before you use the model for such speakers."""


def card(config: dict, repository: str | None = None, run: dict | None = None, picture: str | None = None) -> str:
    """Writes the text of a README.md, with the Hub's front matter.

    Args:
        config: of the bundle (see `asr_core.bundle.description`).
        repository: "name/repo" of the bundle on the Hub; None for the embedded model.
        run: the contents of the training run's `run.json`, or None.
        picture: name of the file with the learning curves, in the folder of the card; or None.
    """
    from huggingface_hub import ModelCard

    name = config.get("name") or (repository or "Speech recognition with CTC").rpartition("/")[2]
    sections = [
        f"# {name}\n\n{_introduction(config)}",
        f"## Use\n\n{_use(repository)}",
        f"## Measured\n\n{_measured(config)}",
        f"## Trained on\n\n{_trained_on(config)}",
        f"## Recipe\n\n{_recipe(config, run or {}, picture)}",
        f"## Limits\n\n{_limits(config)}",
        f"## Biases\n\n{BIASES.format(differences=_differences(config))}",
    ]
    body = "\n\n".join(sections)
    return str(ModelCard(f"---\n{_metadata(config, name)}\n---\n\n{body}\n"))


def _metadata(config: dict, name: str) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    licence = config.get("licence", "")
    known = licence.lower().replace(" ", "-")
    known = {"cc0": "cc0-1.0"}.get(known, known)
    results = [
        EvalResult(
            task_type=TASK, task_name="Automatic Speech Recognition", dataset_type=_slug(one.get("dataset", "")),
            dataset_name=_dataset(one), dataset_split=one.get("split"), metric_type=metric,
            metric_name=f"{metric.upper()}, {one.get('decoder', 'greedy')}", metric_value=round(100 * one[metric], 2),
        )
        for one in _entries(config, "evaluation")
        for metric in ("wer", "cer")
        if isinstance(one.get(metric), int | float)
    ]  # fmt: skip
    speech = [one for one in _entries(config, "training_data") if one.get("kind") != "text"]
    data = ModelCardData(
        language=config.get("language"),
        license=(known if known in HUB_LICENCES else "other") if licence else None,
        license_name=_slug(licence) if licence and known not in HUB_LICENCES else None,
        library_name="keras",
        pipeline_tag=TASK,
        tags=["ctc", "speech", config["architecture"]["name"]],
        datasets=list(dict.fromkeys(one.get("hub") or _slug(one.get("name", "")) for one in speech)) or None,
        metrics=["wer", "cer"],
        model_name=name,
        eval_results=results or None,
    )
    return data.to_yaml()


def _introduction(config: dict) -> str:
    about = config.get("description") or "A small speech recogniser that writes letters (CTC)."
    untrained = "**This network has not learned to transcribe: what it writes means nothing.**\n\n"
    facts = [
        f"{config['architecture']['name']} network",
        f"{config['parameters'] / 1e6:.1f} million parameters" if "parameters" in config else None,
        f"{sum(file['bytes'] for file in config['files'].values()) / 1e6:.1f} MB",
        f"{config['sample_rate'] / 1000:g} kHz",
        _language(config),
        "with a language model" if any(name.startswith("language_model") for name in config["files"]) else None,
    ]
    return ("" if config.get("trained", True) else untrained) + f"{about}\n\n" + ", ".join(filter(None, facts)) + "."


def _use(repository: str | None) -> str:
    model, flag = ("", "") if repository is None else (f'"{repository}"', f" --model {repository}")
    return (
        f"In a checkout of the app:\n\n```\npython app.py{flag}\npython -m asr_core recording.wav{flag}\n```\n\n"
        f"or from Python:\n\n```python\n{SNIPPET.format(model=model)}```\n\n"
        "A bundle is weights and JSON; loading one runs no code from it."
    )


def _measured(config: dict) -> str:
    rows = [
        [
            _dataset(one), one.get("split", ""), one.get("decoder", ""), one.get("clips", ""), one.get("words", ""),
            _percent(one.get("wer")), _interval(one), _percent(one.get("cer")),
        ]
        for one in _entries(config, "evaluation")
    ]  # fmt: skip
    if not rows:
        return "Nothing has been measured."
    table = _table(["Data", "Part", "Decoder", "Clips", "Words", "WER %", "95 % interval", "CER %"], rows, "lllrrrrr")
    return (
        f"{table}\n\nError rates after the field's usual normalisation (lower case, figures and abbreviations spelled "
        "out, no punctuation but the apostrophe). Intervals resample speakers (* clips, where there are too few "
        "speakers; these are too narrow). The network and the options of its decoder were chosen on the part called "
        "valid: the error rates measured there are slightly too low."
    )


def _interval(one: dict) -> str:
    if not isinstance(one.get("wer_low"), int | float):
        return ""
    star = "*" if one.get("resampled") == "clips" else ""
    return f"{_percent(one['wer_low'])}-{_percent(one['wer_high'])}{star}"


def _trained_on(config: dict) -> str:
    speech, texts = [], []
    for one in _entries(config, "training_data"):
        licence, credit = one.get("licence", ""), one.get("credit", "")
        if one.get("kind") == "text":
            texts.append([one.get("name", ""), licence])
        else:
            speech.append([one.get("name", ""), _number(one.get("hours")), licence, one.get("what", ""), credit])
    if not speech:
        return "The training data is not stated."
    parts = [_table(["Speech", "Hours", "Licence", "What", "Credit"], speech, "lrlll")]
    if texts:
        parts += ["The language models were trained on:", _table(["Text", "Licence"], texts, "ll")]
    if config["architecture"]["sizes"].get("phones"):
        parts.append(DICTIONARY)
    if PRONUNCIATIONS in config.get("files", ()):
        from train.data.credits import DICTIONARY_NOTICE

        notice = "\n".join(f"> {line}".rstrip() for line in DICTIONARY_NOTICE.splitlines())
        parts.append(f"`{PRONUNCIATIONS}` holds words of that dictionary, under this notice:\n\n{notice}")
    parts.append("Each corpus keeps its own terms; the licence named above is that of the weights.")
    return "\n\n".join(parts)


def _recipe(config: dict, run: dict, picture: str | None) -> str:
    facts = dict(config.get("recipe", {}))
    preset = run.get("preset", {})
    for key in ("passes", "peak", "warm_up", "decay", "weight_decay", "average"):
        if key in preset:
            facts.setdefault(key, preset[key])
    for key in ("clips", "hours", "total_steps", "seed"):
        if key in run:
            facts.setdefault(key, run[key])
    facts |= {f"{name} version": version for name, version in run.get("versions", {}).items()}
    sizes = ", ".join(f"{name} {value}" for name, value in config["architecture"]["sizes"].items())
    features = config["featurizer"]["name"] + (", after dereverberation" if config.get("dereverberation") else "")
    rows = [["network", f"{config['architecture']['name']}: {sizes}"], ["features", features]]
    rows += [[key.replace("_", " "), _plain(value)] for key, value in facts.items()]
    text = _table(["What", "Value"], rows, "ll")
    return text + (f"\n\n![Loss and error rates over the passes]({picture})" if picture else "")


def _limits(config: dict) -> str:
    language = _language(config)
    small = config.get("parameters", 0) < SMALL_PARAMETERS
    return LIMITS.format(
        language=f"{language} only. " if language else "",
        size="It is a small network, trained on little speech. " if small else "",
    )


def _differences(config: dict) -> str:
    """A sentence with the corpora of the lowest and the highest WER of the last decoder; "" if fewer than two."""
    measured = [
        one for one in _entries(config, "evaluation")
        if isinstance(one.get("wer"), int | float) and one.get("dataset") != "all" and "corpora" not in one
    ]  # fmt: skip
    last = [one for one in measured if one.get("decoder") == measured[-1].get("decoder")] if measured else []
    if len(last) < 2:
        return ""
    best, worst = (pick(last, key=lambda one: one["wer"]) for pick in (min, max))
    return (
        f"Here, {_percent(best['wer'])} % of the words of {_dataset(best)} are wrong, and "
        f"{_percent(worst['wer'])} % of those of {_dataset(worst)}. "
    )


def _dataset(one: dict) -> str:
    from train.data.credits import source_of

    name = str(one.get("dataset", ""))
    if corpora := one.get("corpora"):
        return f"{name}: {', '.join(source_of(corpus).title for corpus in corpora)}"
    return "all together" if name == "all" else source_of(name).title


def _entries(config: dict, field: str) -> list[dict]:
    """The objects in a list of a config. The loader of bundles does not check the contents of such lists."""
    return [one for one in config.get(field, []) if isinstance(one, dict)]


def _language(config: dict) -> str:
    language = config.get("language", "")
    return {"en": "English"}.get(language, language)


def _table(heads: list[str], rows: list[list], align: str) -> str:
    rule = ["---:" if side == "r" else "---" for side in align]
    lines = [heads, rule, *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def _plain(value) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _percent(rate) -> str:
    return f"{100 * rate:.1f}" if isinstance(rate, int | float) else ""


def _number(value) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else ""


def _slug(text) -> str:
    """A name in the form that the Hub's metadata requires."""
    return re.sub(r"[^a-z0-9._]+", "-", str(text).lower()).strip("-") or "unnamed"


def write_card(folder: Path, **changes) -> None:
    """Changes fields of a bundle's config.json and writes its README.md.

    Args:
        folder: of the bundle.
        changes: new values of fields of config.json (`asr_core.bundle.description.OPTIONAL`); None changes nothing.

    Raises:
        BundleError: the folder holds no bundle, or the new config is not valid.
    """
    from asr_core.bundle.description import CONFIG, README, read_description, write_description

    config = read_description(folder / CONFIG, folder.name)
    config |= {name: value for name, value in changes.items() if value is not None}
    write_description(folder, config, folder.name)
    replace_file(folder / README, card(config))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m train.publish.card", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("--data", nargs="+", type=Path, metavar="MANIFEST", help="manifests of the training data")
    parser.add_argument("--texts", action="store_true", help="credit the texts of the embedded language model, too")
    parser.add_argument("--name", help="name of the model")
    parser.add_argument("--description", help="one sentence about the model")
    parser.add_argument("--licence", help="licence of the weights, such as apache-2.0")
    return parser.parse_args(arguments)


@stoppable
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    args = parse(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        data = None
        if args.data:
            from train.data.credits import TEXTS, training_data
            from train.data.manifest import read_manifest

            data = training_data(clip for manifest in args.data for clip in read_manifest(manifest))
            data += TEXTS if args.texts else []
        changes = {"name": args.name, "description": args.description, "licence": args.licence}
        write_card(args.bundle, training_data=data, **changes)
    except (AsrError, OSError, ValueError) as error:
        print(in_words(error), file=sys.stderr)
        return FAILED
    print(f"wrote {args.bundle / 'README.md'}")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
