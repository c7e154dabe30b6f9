"""Finding the model that ``shardwise inspect`` is asked about: a config.json, or a model's id."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from shardwise.checkpoint import INDEX_FILE, ConfigError, catalog, from_config, index_bytes
from shardwise.cli.examples import examples
from shardwise.cli.options import form_option
from shardwise.cli.output import write_data
from shardwise.cli.working import working
from shardwise.cli.wrong import WrongInput
from shardwise.domain.model import ModelFacts, Quantization
from shardwise.domain.site import HubSite
from shardwise.explain.models import model_document, model_text

_CONFIG = "config.json"


@click.command(
    epilog=examples(
        (
            "Say the sizes and degrees of a model of the catalog or of the Hub",
            "shardwise inspect meta-llama/Llama-3.1-70B-Instruct",
        ),
        ("Say them of a checkpoint's folder", "shardwise inspect ./checkpoint"),
    )
)
@click.argument("model")
@click.option(
    "--quantization",
    type=click.Choice(["auto", *(kind.value for kind in Quantization)]),
    default="auto",
    show_default=True,
    help="As in the object: as the config says, or how the weights will be quantised.",
)
@form_option("text", "json", "yaml")
def inspect(model: str, quantization: str, form: str) -> None:
    """Say a model's facts, sizes and legal degrees: MODEL is a config.json, a checkpoint's folder, or a model's id."""
    facts = inspected(model, quantization)
    if form == "text":
        print(model_text(facts))
    else:
        write_data(model_document(facts), form)


def inspected(model: str, quantization: str) -> ModelFacts:
    """Read the facts of a file or folder, of an entry of the catalog, or of a model on the Hub, in this order.

    Raises :class:`WrongInput` in a single line for a name that is neither a config nor a model.
    """
    path = Path(model) / _CONFIG if (Path(model) / _CONFIG).is_file() else Path(model)
    if path.suffix == ".json" or path.is_file():
        config = _read(path)
        return _facts(config, _name(path, config), str(path), quantization, _index_bytes(path))
    if path.is_dir() and not _is_id(model):
        raise WrongInput(f"the folder {model} has no {_CONFIG}: name a checkpoint's folder, or a file")
    known = catalog.lookup(model)
    if known is not None:
        return _facts(known, model, "catalog", quantization)
    return _from_hub(model, quantization)


def _is_id(model: str) -> bool:
    """Tell whether a name has the form of a model's id, `ORGANISATION/NAME`."""
    return model.count("/") == 1 and not model.startswith(("/", ".")) and not model.endswith("/")


def _from_hub(model: str, quantization: str) -> ModelFacts:
    from shardwise.hub import HubError, HubQuestion, ask_hub  # noqa: PLC0415 - needed for unknown models alone

    try:
        with working(lambda: f"asking the Hub for `{model}`"):
            found = ask_hub(HubQuestion(model), HubSite())
    except HubError as error:
        raise WrongInput(f"{error}; a path to its config.json needs no network") from error
    return _facts(found.config, model, "hub", quantization, found.weight_bytes)


def _facts(
    config: Mapping[str, object], name: str, origin: str, quantization: str, checkpoint_bytes: int | None = None
) -> ModelFacts:
    try:
        return from_config(
            config, name=name, origin=origin, quantization=quantization, checkpoint_bytes=checkpoint_bytes
        )
    except ConfigError as error:
        raise WrongInput(str(error)) from error


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise WrongInput(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise WrongInput(f"{path}: not JSON: {str(error).partition(chr(10))[0]}") from error
    if not isinstance(document, Mapping):
        raise WrongInput(f"{path}: a config.json is an object, not `{str(document)[:60]}`")
    return document


def _index_bytes(path: Path) -> int | None:
    """Read the checkpoint's bytes off the index in the folder of a config.json."""
    index = path.parent / INDEX_FILE
    return index_bytes(_read(index)) if path.name == _CONFIG and index.is_file() else None


def _name(path: Path, config: Mapping[str, Any]) -> str:
    """Name a model as its file is named (``ORG__NAME.json``), as its config says, or as its folder is named."""
    if "__" in path.stem:
        return path.stem.replace("__", "/", 1)
    stated = config.get("_name_or_path")
    if isinstance(stated, str) and stated.count("/") == 1 and not stated.startswith(("/", ".")):
        return stated
    return path.resolve().parent.name if path.name == "config.json" else path.stem
