"""Model facts from what a checkpoint says of itself: its config.json, or a small catalog of well-known models.

Pure. A config that cannot be read in full is refused by :class:`ConfigError`, never guessed into a wrong number.
"""

from shardwise.checkpoint.config import from_config
from shardwise.checkpoint.fields import ConfigError

__all__ = ["ConfigError", "from_config"]
