"""From a plan and a launch to manifests, which the operator applies and ``shardwise render`` prints. Pure."""
