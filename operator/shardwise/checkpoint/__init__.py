"""Model facts from what a checkpoint says of itself: its config.json, or a small catalog of well-known models.

Pure. A config of a family that was counted gives its sizes exactly; one of an unknown family gives what its fields say,
marked as a guess, or is refused by :class:`ConfigError`.
"""

from shardwise.checkpoint.config import from_config
from shardwise.checkpoint.fields import ConfigError
from shardwise.checkpoint.precision import with_quantization

__all__ = ["ConfigError", "from_config", "with_quantization"]
