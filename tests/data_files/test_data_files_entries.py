"""Every entry of a data file has a source and known fields only. Errors name the file, the entry and the field."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest
from tests.support.repository import PACKAGE, modules, tree

from shardwise.checkpoint import catalog
from shardwise.checkpoint.catalog import ModelRow
from shardwise.checkpoint.model_types import ModelTypeRow
from shardwise.data import DataError, read_table, table
from shardwise.data.tables import Sourced
from shardwise.domain.engine import EngineName
from shardwise.domain.estimate_errors import EstimateError
from shardwise.domain.hardware import GpuRow, bare_product
from shardwise.domain.platforms import PlatformRow
from shardwise.domain.towers import TowerRow
from shardwise.engines.signals import SignalRow
from shardwise.planner.all_to_all import AllToAllRow
from shardwise.planner.architecture_support import ArchitectureRow
from shardwise.planner.capability_support import CapabilityRow
from shardwise.planner.data_support import DataRow
from shardwise.planner.method_support import MethodRow
from shardwise.planner.on_load import OnLoadRow
from shardwise.planner.pipeline_support import PipelineRow
from shardwise.planner.stage_ends import StageEndRow
from shardwise.planner.transfer_support import TransferRow

FOLDER = PACKAGE / "data"
FILES: dict[str, type[Sourced]] = {
    "all-to-all.toml": AllToAllRow,
    "data-parallel.toml": DataRow,
    "estimate-errors.toml": EstimateError,
    "gpus.toml": GpuRow,
    "model-types.json": ModelTypeRow,
    "models.json": ModelRow,
    "architectures.json": ArchitectureRow,
    "capabilities.toml": CapabilityRow,
    "methods.toml": MethodRow,
    "on-load.toml": OnLoadRow,
    "pipeline.toml": PipelineRow,
    "platforms.toml": PlatformRow,
    "signals.toml": SignalRow,
    "stage-ends.toml": StageEndRow,
    "towers.toml": TowerRow,
    "transfer.toml": TransferRow,
}
SOURCES = re.compile(
    r"[\w.-]+/[\w.-]+(@[0-9a-f]{7,}|, docs/)|[\w-]+ \d+\.\d+\.\d+, |data sheet|documentation|docs\.\w+\.\w+"
    r"|tests/data/[\w-]+\.json"
)
"""A repository at a commit, a document in a repository, a release and its file, a data sheet, documentation, or our own
measurement in tests/data."""


@pytest.mark.parametrize("name", FILES)
def test_every_entry_names_a_source_that_can_be_looked_up(name: str) -> None:
    entries: Mapping[str, Sourced] = table(name, FILES[name])
    assert entries
    assert {entry: row.source for entry, row in entries.items() if not SOURCES.search(row.source)} == {}


def test_every_data_file_is_read_as_rows() -> None:
    assert sorted(path.name for path in FOLDER.iterdir() if path.suffix in {".json", ".toml"}) == sorted(FILES)


def _texts() -> set[str]:
    """Collect every text in the code that reads configs; a tuple of synonyms holds one text a name."""
    trees = (tree(path) for path in modules(PACKAGE / "checkpoint"))
    return {node.value for found in trees for node in ast.walk(found) if _is_text(node)}  # type: ignore[attr-defined]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _fields(values: Mapping[str, object]) -> Iterator[str]:
    for key, value in values.items():
        yield key
        if isinstance(value, Mapping):
            yield from _fields(value)


def test_the_catalog_and_the_defaults_hold_only_fields_that_the_code_reads() -> None:
    """A misspelt field would be left out of the facts, and nothing would say so."""
    models, types = table("models.json", ModelRow), table("model-types.json", ModelTypeRow)
    held = {name: row.config for name, row in models.items()} | {name: row.defaults for name, row in types.items()}
    known = _texts()
    assert {(name, key) for name, values in held.items() for key in _fields(values) if key not in known} == set()


def test_no_name_of_a_model_stands_for_two_entries() -> None:
    rows = table("models.json", ModelRow)
    assert len(catalog.configs()) == sum(1 + len(row.also) for row in rows.values())


def test_gpu_products_are_listed_as_they_are_looked_up() -> None:
    assert [product for product in table("gpus.toml", GpuRow) if bare_product(product) != product] == []


def test_pipelines_are_listed_by_engine_as_exceptions_or_as_all() -> None:
    rows = table("pipeline.toml", PipelineRow)
    assert rows.keys() <= {engine.value for engine in EngineName}
    assert all((row.can is None) == bool(row.cannot) for row in rows.values())


@dataclass(frozen=True)
class Fruit:
    """A row of these tests."""

    source: str
    weight: float
    fresh: bool = True
    tags: tuple[str, ...] | None = None
    shop: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def test_an_entry_may_leave_out_fields_that_have_a_default() -> None:
    apple = '[apple]\nsource = "a book"\nweight = 1\n'
    pear = '[pear]\nsource = "a book"\nweight = 0.5\ntags = ["green"]\nfresh = false'
    read = read_table("fruit.toml", apple + pear, Fruit)
    assert list(read.values()) == [Fruit("a book", 1), Fruit("a book", 0.5, fresh=False, tags=("green",))]


def test_nested_objects_are_read_from_either_format() -> None:
    fruit = Fruit("a book", 1, shop={"near": ("north", "south")})
    toml = '[apple]\nsource = "a book"\nweight = 1\nshop.near = ["north", "south"]'
    json = '{"apple": {"source": "a book", "weight": 1, "shop": {"near": ["north", "south"]}}}'
    assert read_table("fruit.toml", toml, Fruit) == read_table("fruit.json", json, Fruit) == {"apple": fruit}


WRONG = {
    "no source": ("weight = 1", "fruit.toml: entry `apple` lacks the field `source`"),
    "an empty source": (
        'source = " "\nweight = 1',
        "fruit.toml: entry `apple` has an empty `source`: name the document or file that the facts are from",
    ),
    "a field left out": ('source = "a book"', "fruit.toml: entry `apple` lacks the field `weight`"),
    "an unknown field": (
        'source = "a book"\nsize = 1',
        "fruit.toml: entry `apple` has the unknown field `size`: known are `source`, `weight`, `fresh`, `tags`, `shop`",
    ),
    "a text for a number": (
        'source = "a book"\nweight = "1"',
        "fruit.toml: entry `apple`: field `weight` is '1': a number is needed",
    ),
    "true for a number": (
        'source = "a book"\nweight = true',
        "fruit.toml: entry `apple`: field `weight` is True: a number is needed",
    ),
    "a number for true": (
        'source = "a book"\nweight = 1\nfresh = 1',
        "fruit.toml: entry `apple`: field `fresh` is 1: true or false is needed",
    ),
    "a number for a source": (
        "source = 1\nweight = 1",
        "fruit.toml: entry `apple`: field `source` is 1: a text is needed",
    ),
    "a text for a list": (
        'source = "a book"\nweight = 1\ntags = "red"',
        "fruit.toml: entry `apple`: field `tags` is 'red': a list of texts is needed",
    ),
    "a number in a list": (
        'source = "a book"\nweight = 1\ntags = ["red", 2]',
        "fruit.toml: entry `apple`: field `tags` is ['red', 2]: a list of texts is needed",
    ),
    "a list for lists by name": (
        'source = "a book"\nweight = 1\nshop = ["near"]',
        "fruit.toml: entry `apple`: field `shop` is ['near']: an object of lists is needed",
    ),
    "a text in lists by name": (
        'source = "a book"\nweight = 1\nshop.near = "north"',
        "fruit.toml: entry `apple`: field `shop` is {'near': 'north'}: an object of lists is needed",
    ),
}


@pytest.mark.parametrize(("entry", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_entry_is_told_by_file_entry_and_field(entry: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_table("fruit.toml", f"[apple]\n{entry}", Fruit)
    assert str(caught.value) == message


BROKEN = {
    "broken TOML": ("fruit.toml", "[apple", "fruit.toml: "),
    "broken JSON": ("fruit.json", "{", "fruit.json: "),
    "a name twice in TOML": ("fruit.toml", "[apple]\n[apple]", "fruit.toml: "),
    "a name twice in JSON": ("fruit.json", '{"apple": {}, "apple": {}}', "fruit.json: `apple` comes twice"),
    "a list of entries": ("fruit.json", "[]", "fruit.json: an object of entries is needed"),
    "an entry that is a number": ("fruit.json", '{"apple": 1}', "fruit.json: entry `apple` is not an object"),
}


@pytest.mark.parametrize(("name", "text", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_told_by_its_name(name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}"):
        read_table(name, text, Fruit)
