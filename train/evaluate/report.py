"""An evaluation as a table of text, which `python -m train.evaluate` prints unless `--json` is given."""

from collections.abc import Iterator

from train.options import duration

COLUMNS = "clips speakers words WER% 95%-interval CER% sub del ins raw-WER% raw-CER%".split()


def table(content: dict) -> str:
    """The text of what `train.evaluate.measure.measure` returns, with the model's name and the normalisation."""
    return "\n".join(_lines(content))


def _lines(content: dict) -> Iterator[str]:
    yield f"{content['model']} on {content['clips']} clips, {duration(3600 * content['hours'])}"
    yield f"Normalised for WER and CER: {content['normalisation']}; raw: as published."
    for name, reason in content["left_out"].items():
        yield f"left out: {name} ({reason})"
    yield ""
    if content["tuning"]:
        yield from _tuning(content["tuning"])
    for decoder in content["decoders"]:
        yield from _decoder(decoder)


def _tuning(found: dict) -> Iterator[str]:
    """The points of the grid, and the error rates of the other half of the speakers before and after the search."""
    names = [name for name in found["tried"][0] if name != "wer"]
    choosing, judging = found["clips"]
    yield f"options chosen on {choosing} clips, judged on {judging} clips of other speakers"
    best = min(point["wer"] for point in found["tried"])
    for point in found["tried"]:
        values = "  ".join(f"{name} {point[name]:g}" for name in names)
        yield f"  {values}  WER {_percent(point['wer'])} %{'  <' if point['wer'] == best else ''}"
    before, after = (_percent(found[which]["wer"]) for which in ("before", "after"))
    yield f"  judged: WER {before} % with the options before, {after} % with the best"
    yield ""


def _decoder(content: dict) -> Iterator[str]:
    rows = [(_name(row), *_cells(row)) for row in content["figures"]]
    heads = (content["decoder"], *COLUMNS)
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    for row in [heads, *rows]:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        yield " ".join([row[0].ljust(widths[0]), *cells])
    if any(row["resampled"] == "clips" and row["wer_low"] is not None for row in content["figures"]):
        yield "* too few speakers to resample: the interval resamples clips and is too narrow"
    yield (
        f"real-time factor {content['real_time_factor']:.3f}; {content['cpu_seconds_a_second']:.3f} s of CPU for a "
        f"second of audio, of which the decoder takes {content['cpu_seconds_a_second_of_decoder']:.3f}"
    )
    if found := content["confidence"]:
        yield (
            f"confidence: calibration error {found['calibration_error_before']:.3f}, and "
            f"{found['calibration_error_after']:.3f} calibrated ({found['words']} words of speakers that it was not "
            "fitted on)"
        )
    for one in content["worst"]:
        yield f"{one['errors']:3} wrong in {one['id']}"
        yield f"    reference   {one['reference']}"
        yield f"    hypothesis  {one['hypothesis']}"
    yield ""


def _name(row: dict) -> str:
    return row["name"] if row["kind"] == "all" else f"{row['kind']} {row['name']}"


def _cells(row: dict) -> list[str]:
    confidence_interval = "-"
    if row["wer_low"] is not None:
        star = "*" if row["resampled"] == "clips" else ""
        confidence_interval = f"{100 * row['wer_low']:.1f}-{100 * row['wer_high']:.1f}{star}"
    return [
        *(str(row[name]) for name in ("clips", "speakers", "words")),
        _percent(row["wer"]), confidence_interval, _percent(row["cer"]),
        *(str(row[name]) for name in ("substitutions", "deletions", "insertions")),
        _percent(row["raw_wer"]), _percent(row["raw_cer"]),
    ]  # fmt: skip


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.2f}"
