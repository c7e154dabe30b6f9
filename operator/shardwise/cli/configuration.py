"""Reading the operator configuration off its file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shardwise.cli.documents import parsed_documents
from shardwise.cli.wrong import WrongInput
from shardwise.domain.site import Site


def read_site(path: Path | None) -> Site:
    """Read the operator configuration; without a file, or with an empty one, all is as by default.

    Raises :class:`WrongInput` with a line for each problem.
    """
    if path is None:
        return Site()
    documents = parsed_documents(str(path), _content(path))
    if len(documents) > 1:
        raise WrongInput(f"{path}: one document is needed, {len(documents)} given")
    document = documents[0] if documents else {}
    if not isinstance(document, Mapping):
        raise WrongInput(
            f"{path}: a configuration such as `fleet: {{platform: eks}}` is needed, not `{document!s:.60}`"
        )
    return _parsed(path, document)


def _parsed(path: Path, document: Mapping[str, Any]) -> Site:
    from shardwise.api.configuration import parse_site  # noqa: PLC0415 - its models load slowly, and few calls name one
    from shardwise.api.problems import InvalidObject  # noqa: PLC0415 - the same

    try:
        return parse_site(document)
    except InvalidObject as error:
        raise WrongInput(*(f"{path}: {problem}" for problem in error.problems)) from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WrongInput(f"{path} cannot be read: {error.strerror}") from error
