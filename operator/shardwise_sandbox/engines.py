"""Toy engines: what the pods of the cluster answer over HTTP at their addresses, as far as an operator asks them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shardwise_sandbox.api import Api
from shardwise_sandbox.objects import JsonObject, dig
from shardwise_sandbox.pod_index import PODS
from shardwise_sandbox.pod_states import is_running


@dataclass(frozen=True, slots=True)
class Question:
    """A question to a pod: its path, the port, and the body of a POST; a GET has no body."""

    path: str
    port: int
    body: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a pod: its HTTP status and its text."""

    status: int
    text: str = ""


NOT_FOUND: Final = Reply(404)

Answers = Callable[[JsonObject, Question], Reply | None]
"""Gives what a pod answers; ``None`` if it never answers."""


class Engines:
    """The engines of all running pods. A test replaces ``answers``; by default engines know no path.

    ``asked`` lists the names of the pods that were asked, with the question, oldest first.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self.answers: Answers = lambda _pod, _question: NOT_FOUND
        self.asked: list[tuple[str, Question]] = []

    def ask(self, address: str, question: Question) -> Reply | None:
        """Ask the pod at an address. ``None`` if no pod is there, or it never answers."""
        for pod in self._api.store.all(PODS):
            if dig(pod, "status", "podIP") == address and is_running(pod):
                self.asked.append((pod["metadata"]["name"], question))
                return self.answers(pod, question)
        return None
