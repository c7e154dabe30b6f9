"""The command line: the same planner as in the cluster, with the same answer, offline or as the operator's process.

Text for people, ``-o json|yaml`` for machines. Exit status 0: all placed; 1: something does not fit; 2: wrong input.
"""

from shardwise.cli.main import main

__all__ = ["main"]
