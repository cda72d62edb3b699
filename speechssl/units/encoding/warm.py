"""What every worker needs, imported once by the process from which workers are forked; see ``workers.parallel``."""

from contextlib import suppress

from speechssl import checkpoints, errors
from speechssl.units.encoding import records, workers

__all__ = ["records", "workers"]

# a library that is absent is told of by the worker that needs it
with suppress(errors.SpeechSSLError):
    checkpoints.transformers().PreTrainedModel  # noqa: B018  transformers imports when asked
