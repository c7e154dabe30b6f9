"""An obstacle in words and as data."""

from typing import Any

from shardwise.domain.obstacle import Obstacle


def obstacle_text(obstacle: Obstacle, name: str) -> str:
    """Say in a line why a plan is not started."""
    return f"× `{name}` is not started: {obstacle.message}"


def obstacle_answer(obstacle: Obstacle) -> dict[str, Any]:
    """Give an obstacle as JSON data, in the form of a refusal."""
    return {"reason": obstacle.reason, "message": obstacle.message, "nearest": None, "hints": []}
