"""Imports transformers in the process from which workers are forked, where they will need it; see ``workers``."""

from contextlib import suppress

from speechssl import checkpoints, errors

# a library that is absent is told of by the worker that needs it
with suppress(errors.SpeechSSLError):
    checkpoints.transformers().PreTrainedModel  # noqa: B018  the library imports when asked
