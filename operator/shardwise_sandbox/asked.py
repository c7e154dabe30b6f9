"""The engines of the in-memory cluster, asked as the operator asks the engines of pods."""

from http import HTTPStatus

from shardwise.operate.engine_http import Fetch, Place, Silent, Unanswered
from shardwise_sandbox import Question, Sandbox


def asked_in(sandbox: Sandbox) -> Fetch:
    """Give the way to ask the engines of a sandbox, in place of HTTP."""

    async def fetch(place: Place) -> str:
        reply = sandbox.engines.ask(place.address, Question(place.path, place.port, place.body))
        if reply is None and place.body:
            raise Silent("no answer in time")
        if reply is None or reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Unanswered("nobody answers")
        return reply.text if reply.status == HTTPStatus.OK else ""

    return fetch
