"""The built-in catalog says what the published configs say."""

import pytest
from tests.support.models import config, config_names, facts

from shardwise.checkpoint import catalog, from_config

OWN = [name for name in sorted(catalog.configs()) if name in config_names()]
PUBLISHED_ANEW = [name for name in sorted(catalog.configs()) if name not in config_names()]


@pytest.mark.parametrize("name", OWN)
def test_an_entry_has_the_very_fields_of_the_published_config(name: str) -> None:
    published, entry = config(name), catalog.lookup(name)
    assert entry is not None
    assert {key: published.get(key, entry[key]) for key in entry if key != "quantization_config"} == {
        key: value for key, value in entry.items() if key != "quantization_config"
    }


@pytest.mark.parametrize("name", OWN)
def test_an_entry_gives_the_very_facts_of_the_published_config(name: str) -> None:
    entry = catalog.lookup(name)
    assert entry is not None
    assert from_config(entry, name=name, origin="tests/data/models") == facts(name)


@pytest.mark.parametrize("name", PUBLISHED_ANEW)
def test_a_second_name_gives_facts_too(name: str) -> None:
    entry = catalog.lookup(name)
    assert entry is not None
    assert from_config(entry, name=name, origin="catalog").notes == ()


def test_the_catalog_covers_what_the_demo_serves() -> None:
    demo = ["meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-70B", "meta-llama/Llama-3.1-405B"]
    assert all(catalog.lookup(name) for name in [*demo, "deepseek-ai/DeepSeek-R1"])


def test_most_entries_are_backed_by_a_config_in_the_data_folder() -> None:
    assert len(OWN) >= 15


@pytest.mark.parametrize("name", ["", "nobody/nothing", "meta-llama/llama-3.1-8b"])
def test_an_unknown_name_gives_nothing(name: str) -> None:
    assert catalog.lookup(name) is None
