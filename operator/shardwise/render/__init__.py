"""From a plan and a launch to manifests, which the operator applies and ``shardwise render`` prints. Pure.

Importers name the module, so that each command loads the modules of its own work.
"""
