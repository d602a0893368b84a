"""The model card of a checkpoint (`README.md`) -> fields of a bundle's description."""

MAX_FRONT_MATTER = 200_000  # characters; YAML is slow to read
MAX_ENTRIES = 100  # of a list that is taken over
TASK = "automatic-speech-recognition"
ERROR_RATES = ("wer", "cer")


def facts_of_card(text: str) -> dict:
    """The fields `language`, `licence`, `training_data` and `evaluation`, as far as the card's front matter has them.

    Whatever in it is not of the form that the Hub prescribes is left out.
    """
    data = _front_matter(text)
    licence = data.get("license")
    if licence == "other" and isinstance(data.get("license_name"), str):
        licence = data["license_name"]
    languages = _strings(data.get("language"))
    facts = {
        "language": languages[0] if len(languages) == 1 else None,
        "licence": licence if isinstance(licence, str) else None,
        "training_data": [{"name": name, "hub": name} for name in _strings(data.get("datasets"))],
        "evaluation": _evaluation(data.get("model-index")),
    }
    return {field: value for field, value in facts.items() if value}


def _front_matter(text: str) -> dict:
    import yaml

    opening, _, rest = text.lstrip("\ufeff\n\r ").partition("\n")
    matter, closing, _ = rest.partition("\n---")
    if opening.rstrip() != "---" or not closing or len(matter) > MAX_FRONT_MATTER:
        return {}
    try:
        data = yaml.load(matter, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):  # the card is for people; a model runs without it
        return {}
    return data if isinstance(data, dict) else {}


def _strings(value) -> list[str]:
    """The strings in a value that is one, or a list of them; YAML reads the code of Norwegian, no, as false."""
    listed = value if isinstance(value, list) else [value]
    return ["no" if one is False else one for one in listed[:MAX_ENTRIES] if isinstance(one, str) or one is False]


def _tables(value) -> list[dict]:
    return [one for one in value[:MAX_ENTRIES] if isinstance(one, dict)] if isinstance(value, list) else []


def _evaluation(index) -> list[dict]:
    """Error rates of a `model-index`, as fractions, one entry for each result."""
    measured = []
    for model in _tables(index):
        for result in _tables(model.get("results")):
            task, dataset = (value if isinstance(value, dict) else {} for value in map(result.get, ("task", "dataset")))
            if task.get("type", TASK) != TASK:
                continue
            parts = {"dataset": dataset.get("name") or dataset.get("type"), "split": dataset.get("split")}
            entry = {key: value for key, value in parts.items() if isinstance(value, str)}
            rates = {}
            for metric in _tables(result.get("metrics")):
                kind, value = str(metric.get("type")).lower(), _number(metric.get("value"))
                if kind in ERROR_RATES and value is not None:
                    rates.setdefault(kind, value)  # the first is that without a language model
            if rates:
                unit = 1 if max(rates.values()) <= 1 else 100  # a fraction, as the Trainer writes it, or percent
                measured.append(
                    {**entry, "decoder": "published", **{kind: rate / unit for kind, rate in rates.items()}}
                )
    return measured[:MAX_ENTRIES]


def _number(value) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < 1000 else None
