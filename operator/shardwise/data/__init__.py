"""Facts that Shardwise ships as files, each entry with its source.

People write the TOML files. The JSON files repeat fields of config.json files, and JSON is read much faster. A file is
read when its facts are first needed. No other package reads files of the distribution.
"""

from shardwise.data.tables import DataError, read_table, table

__all__ = ["DataError", "read_table", "table"]
