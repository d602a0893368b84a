"""The look of the page: theme, style sheet and shared script, all from this repository."""

from pathlib import Path

import gradio as gr
from gradio.themes.utils import colors, sizes

from ui.widgets.markup import Html, tag

# The type scale of `ui/static/style.css` under Gradio's names.
TEXT = sizes.Size(
    name="text_scale",
    xxs="0.833rem",
    xs="0.833rem",
    sm="0.833rem",
    md="1rem",
    lg="1.2rem",
    xl="1.44rem",
    xxl="2.074rem",
)
STATIC = Path(__file__).parents[1] / "static"
TRANSLATIONS = gr.I18n(en={"common": {"upload": "Add files"}})  # the label of a button in Batch, which Gradio lacks
TITLE = "Speech recognition with CTC"

TEAL = colors.Color(
    name="teal",
    c50="#eef7f6",
    c100="#d8ecea",
    c200="#b0d9d5",
    c300="#83c4be",
    c400="#46a699",
    c500="#1f857f",
    c600="#0a6b66",
    c700="#085652",
    c800="#07433f",
    c900="#06302e",
    c950="#041f1e",
)

# Each variable has a light and a dark value in `ui/static/style.css`, so that both modes of Gradio use the same ones.
COLOURS = {
    "body_background_fill": "var(--page)",
    "body_text_color": "var(--ink)",
    "body_text_color_subdued": "var(--ink-soft)",
    "background_fill_primary": "var(--paper)",
    "background_fill_secondary": "var(--page)",
    "block_background_fill": "var(--paper)",
    "block_border_color": "var(--rule)",
    "border_color_primary": "var(--rule)",
    "block_label_background_fill": "transparent",
    "block_label_text_color": "var(--ink-soft)",
    "block_title_text_color": "var(--ink)",
    "block_info_text_color": "var(--ink-soft)",
    "input_background_fill": "var(--paper)",
    "input_border_color": "var(--rule-strong)",
    "button_primary_background_fill": "var(--accent-fill)",
    "button_primary_background_fill_hover": "var(--accent-fill)",
    "button_primary_text_color": "var(--on-accent)",
    "button_secondary_background_fill": "var(--paper)",
    "button_secondary_background_fill_hover": "var(--accent-wash)",
    "button_secondary_border_color": "var(--rule-strong)",
    "button_secondary_text_color": "var(--ink)",
    "table_even_background_fill": "var(--page)",
    "table_odd_background_fill": "var(--paper)",
    "slider_color": "var(--accent-fill)",
    "link_text_color": "var(--accent)",
}
SHAPES = {
    "button_large_text_size": "*text_md",
    "button_small_text_weight": "500",
    "button_large_radius": "8px",
    "button_small_radius": "8px",
    "block_label_border_width": "0px",
    "block_radius": "12px",
    "input_border_width": "1px",
    "button_border_width": "1px",
}


def theme() -> gr.themes.Base:
    """Gradio's base theme in the colours of `ui/static/style.css`, for light and dark mode."""
    text = ["system-ui", "sans-serif"]
    base = gr.themes.Base(
        primary_hue=TEAL,
        secondary_hue=TEAL,
        neutral_hue=colors.stone,
        radius_size=sizes.radius_md,
        spacing_size=sizes.spacing_md,
        text_size=TEXT,
        font=[gr.themes.Font(name) for name in text],
        font_mono=[gr.themes.Font("monospace")],
    )
    return base.set(**COLOURS, **{f"{name}_dark": colour for name, colour in COLOURS.items()}, **SHAPES)


def look() -> dict:
    """Theme, style sheet and script as arguments of `launch`."""
    script = (STATIC / "page.js").read_text("utf-8")
    return {
        "theme": theme(),
        "css": (STATIC / "style.css").read_text("utf-8"),
        "head": f'<meta name="color-scheme" content="light dark"><script>{script}</script>',
        "i18n": TRANSLATIONS,
        "footer_links": ["api", "settings"],
        "run_history": False,  # it would keep visitors' transcripts in the browser
    }


def masthead(chip: Html) -> Html:
    """The head of the page, which ends with the state of the model."""
    return tag(
        "header",
        tag(
            "div",
            tag("h1", "Speech to text, and why"),
            tag(
                "p",
                "A small recogniser that shows its work: the words, a confidence for each of them, and the network's "
                "probabilities at every step.",
            ),
        ),
        chip,
        class_="masthead",
    )
