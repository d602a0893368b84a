"""TensorFlow and Keras, imported without what only other people's programs need."""

import os
import sys

# Both try to import these where they are installed, and go without where they are not: for estimators of scikit-learn
# and models of JAX: 1.2 and 0.7 of 6.7 seconds (python -X importtime -c "import tensorflow"). Nobody else in the app
# asks for them; matplotlib, which Keras imports, too, Gradio looks for at every request.
LEFT_OUT = {"sklearn", "jax"}


def import_tensorflow() -> None:
    """Imports both, unless they are there.

    A later import of what is left out works as ever; in another thread meanwhile it does not.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # whatever the user's keras.json says
    if "tensorflow" in sys.modules and "keras" in sys.modules:
        return
    needed = {"jax"} if os.environ.get("KERAS_BACKEND") == "jax" else set()
    names = LEFT_OUT - needed - sys.modules.keys()
    sys.modules |= dict.fromkeys(names)
    try:
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    finally:
        for name in names:
            del sys.modules[name]
