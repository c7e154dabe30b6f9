"""The facts of a model from its config.json, or from a small catalog of well-known models.

Pure. A config of a known family gives exact sizes. A config of an unknown family is read by its fields and marked as a
guess, or is refused by :class:`ConfigError`.
"""

from shardwise.checkpoint.config import from_config
from shardwise.checkpoint.fields import ConfigError
from shardwise.checkpoint.precision import with_quantization

__all__ = ["ConfigError", "from_config", "with_quantization"]
