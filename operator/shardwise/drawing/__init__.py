"""The fleet as a picture: NVLink domains, their nodes, and each GPU in the colour of the model that holds it. Pure."""

from shardwise.drawing.picture import draw

__all__ = ["draw"]
