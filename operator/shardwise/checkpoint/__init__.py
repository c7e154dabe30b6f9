"""The facts of a model from its config.json, or from a small catalog of well-known models.

Pure. A config of a known family gives exact sizes. A config of an unknown family is read by its fields and marked as a
guess, or is refused by :class:`ConfigError`.
"""

from shardwise.checkpoint.config import from_config
from shardwise.checkpoint.fields import ConfigError
from shardwise.checkpoint.precision import with_quantization
from shardwise.checkpoint.stored_size import INDEX_FILE, index_bytes

__all__ = ["INDEX_FILE", "ConfigError", "from_config", "index_bytes", "with_quantization"]
