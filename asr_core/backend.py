"""TensorFlow and Keras, imported without what only other people's programs need."""

import os
import sys

# Both try to import these where they are installed, and go without where they are not: for estimators of scikit-learn
# and models of JAX. 2 of 6 seconds of processor. Nobody else in the app asks for them: matplotlib, which Keras imports,
# too, Gradio looks for at every request.
LEFT_OUT = ("sklearn", "jax")


def import_tensorflow():
    """The module. A later import of what was left out here works as ever; one in another thread meanwhile does not."""
    jax = os.environ.get("KERAS_BACKEND") == "jax"
    names = [name for name in LEFT_OUT if name not in sys.modules and not (jax and name == "jax")]
    sys.modules |= dict.fromkeys(names)
    try:
        import keras  # noqa: F401
        import tensorflow
    finally:
        for name in names:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)
    return tensorflow
