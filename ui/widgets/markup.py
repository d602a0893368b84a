"""Makes the HTML of the page, so that no text from a visitor or a recogniser can become markup.

Only `tag` writes angle brackets; every text that is not `Html` is escaped.
"""

import html
from collections.abc import Iterable


class Html(str):
    """Text that is markup and is not escaped again."""


def tag(name: str, *children, **attributes) -> Html:
    """<name attributes>children</name>. `class_` writes class, `data_at` data-at; None and False omit an attribute."""
    pairs = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        pairs.append(f" {key}" if value is True else f' {key}="{html.escape(str(value))}"')
    inside = "".join(_escaped(child) for child in children)
    return Html(f"<{name}{''.join(pairs)}>{inside}</{name}>")


def _escaped(child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return html.escape(child, quote=False)
    if isinstance(child, Iterable):
        return "".join(_escaped(part) for part in child)
    return html.escape(str(child), quote=False)


def join(parts: Iterable, separator: str = "") -> Html:
    return Html(html.escape(separator).join(_escaped(part) for part in parts))


def table(head: Iterable[str], rows: Iterable[Iterable], *, caption: str, numeric: Iterable[int] = ()) -> Html:
    """A table with a caption for screen readers; `numeric` columns are right-aligned."""
    numeric = set(numeric)

    def row(cells, kind):
        return tag(
            "tr",
            [tag(kind, cell, class_="number" if i in numeric else None) for i, cell in enumerate(cells)],
        )

    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption, class_="unseen"),
            tag("thead", row(head, "th")),
            tag("tbody", [row(cells, "td") for cells in rows]),
        ),
        class_="table-scroll",
        tabindex="0",
        role="region",
        aria_label=caption,
    )


def notice(title: str, *text, kind: str = "info", action: Html | None = None) -> Html:
    """A message in place of a result; screen readers announce an error at once."""
    return tag(
        "div",
        tag("p", title, class_="notice-title"),
        tag("p", *text) if text else None,
        action,
        class_=f"notice {kind}",
        role="alert" if kind == "error" else "status",
    )


def working(title: str, text: str, share: float | None) -> Html:
    """A message with a progress bar, once there is progress."""
    bar = tag("progress", value=f"{share:.3f}", max="1", aria_label="Done so far") if share else None
    return notice(title, text, action=bar)


def clock(seconds: float, digits: int = 1) -> str:
    """Seconds as 1:02.5, or 1:00:02.5 from an hour on."""
    minutes, rest = divmod(max(0.0, round(seconds, digits)), 60)
    hours, minutes = divmod(int(minutes), 60)
    width = digits + 3 if digits else 2
    tail = f"{rest:0{width}.{digits}f}"
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"


def seconds_or_clock(seconds: float, digits: int = 1) -> str:
    """Seconds as 42.5 s, or as 1:02.5 from a minute on."""
    return f"{seconds:.{digits}f} s" if round(seconds, digits) < 60 else clock(seconds, digits)


def percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"
