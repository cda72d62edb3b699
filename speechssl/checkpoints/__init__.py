"""Models, voices and codebooks on disk: one safetensors file each, with its facts in the header, checked on the way in.

The header is a JSON object under the metadata key ``"speechssl"``: ``format``, ``kind`` (``"encoder"``, ``"vocoder"``,
``"voice"`` ...), whatever the kind needs (family, config, origin, provenance, licence), and ``sha256``, the checksum of
the rest of the header and of every tensor. Nothing in this package executes what a file holds: safetensors has no code,
and published PyTorch files are read as plain tensors only.
"""

from speechssl.checkpoints.devices import choose_device
from speechssl.checkpoints.files import (
    Checkpoint,
    atomic_path,
    fingerprint,
    load,
    load_state,
    peek,
    replacing,
    save,
    sha256_of,
    without_weight_norm,
    write_text,
)
from speechssl.checkpoints.locks import alone
from speechssl.checkpoints.places import (
    OWN_FILE,
    PACKAGED,
    cache_dir,
    data_folder,
    data_root,
    make_private,
    new_folder,
    private_folder,
)
from speechssl.checkpoints.published import fetch, hub_download, hub_is_away, load_pickle_tensors, transformers

__all__ = [
    "OWN_FILE",
    "PACKAGED",
    "Checkpoint",
    "alone",
    "atomic_path",
    "cache_dir",
    "choose_device",
    "data_folder",
    "data_root",
    "fetch",
    "fingerprint",
    "hub_download",
    "hub_is_away",
    "load",
    "load_pickle_tensors",
    "load_state",
    "make_private",
    "new_folder",
    "peek",
    "private_folder",
    "replacing",
    "save",
    "sha256_of",
    "transformers",
    "without_weight_norm",
    "write_text",
]
