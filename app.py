"""The program that serves the page: flags and environment -> ui.build() -> launch.

    python app.py [--model PATH_OR_REPO] [--language CODE] [--language-model FILE] [--host HOST] [--port PORT]
                  [--share] [--mcp] [--model-paths]

Environment variables, which Spaces set: ASR_MODEL, ASR_LANGUAGE, ASR_LANGUAGE_MODEL, GRADIO_SERVER_NAME,
GRADIO_SERVER_PORT, GRADIO_SHARE, GRADIO_MCP_SERVER, GRADIO_ROOT_PATH. A flag overrides the environment. By default only
this machine can open the page.
"""

import argparse
import importlib.util
import logging
import os

from asr_core import process

LOOPBACK = "127.0.0.1"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    environment = os.environ
    parser = argparse.ArgumentParser(description="Speech recognition in the browser.")
    parser.add_argument(
        "--model",
        default=environment.get("ASR_MODEL") or "default",
        help="a folder, or a repository on the Hub (name/repo[@revision]); default: the one that comes with the app",
    )
    parser.add_argument(
        "--language",
        default=environment.get("ASR_LANGUAGE"),
        help="which language of a model that has several, such as deu",
    )
    parser.add_argument(
        "--language-model",
        default=environment.get("ASR_LANGUAGE_MODEL") or None,
        help="n-grams for the beam search: an ARPA file, a KenLM binary or a folder of pyctcdecode; repo for the "
        "model's own folder language_model, default for the English one that comes with the app",
    )
    parser.add_argument("--host", default=environment.get("GRADIO_SERVER_NAME") or LOOPBACK, help="address to serve on")
    parser.add_argument(
        "--port",
        type=_port,
        default=environment.get("GRADIO_SERVER_PORT") or None,
        help="default: the first free one from 7860",
    )
    parser.add_argument(
        "--share",
        action="store_true",
        default=_is_true("GRADIO_SHARE"),
        help="serve at a public address of Gradio, too",
    )
    parser.add_argument("--mcp", action="store_true", default=_is_true("GRADIO_MCP_SERVER"), help="serve MCP tools too")
    parser.add_argument(
        "--model-paths", action="store_true", help="visitors may load a model by a path on this machine"
    )
    options = parser.parse_args(arguments)
    if options.mcp and importlib.util.find_spec("mcp") is None:
        parser.error('--mcp needs one more package: pip install "gradio[mcp]"')
    return options


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; ports are numbers from 0 to 65535")
    return int(text)


def _is_true(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes")


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)

    from ui.service.engine import LANGUAGE_MARK, Engine

    model = f"{options.model}{LANGUAGE_MARK}{options.language}" if options.language else options.model
    engine = Engine(model, language_model=options.language_model)
    engine.start()  # before Gradio is imported, which takes as long as TensorFlow does
    from ui import build, launch_options
    from ui.service.folders import remove_left_over
    from ui.service.shutdown import serve_until_stopped

    remove_left_over()
    page = build(engine, model_paths=options.model_paths)
    try:
        page.launch(
            server_name=options.host,
            server_port=options.port,
            share=options.share,
            mcp_server=options.mcp,
            prevent_thread_lock=True,
            **launch_options(engine),
        )
    except OSError as error:
        if "Cannot find empty port" not in str(error):
            raise
        port = f"port {options.port} is" if options.port else "all ports that were tried are"
        raise SystemExit(
            f"The page cannot be served: {port} in use, or {options.host} is no address of this machine."
        ) from error
    serve_until_stopped(page)


if __name__ == "__main__":
    process.catch_interrupts()  # until `serve_until_stopped` handles signals
    main()
