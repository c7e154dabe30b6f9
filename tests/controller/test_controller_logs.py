"""The whole operator's log, with every event in it: each line about an object names it, and no line holds a secret."""

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.operating import Operating, a_model

from shardwise.api import crd
from shardwise.cli import logs
from shardwise_sandbox import Sandbox, compute_domain_definition, sample_fleet

Json = dict[str, Any]
TOKEN = "s3cr3t-of-the-kubeconfig"
PASSWORD = "s3cr3t-of-a-user"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Write the log as the command does, with every event."""
    root, kopf, written = logging.getLogger(), logging.getLogger("kopf"), io.StringIO()
    level, kopf_level = root.level, kopf.level
    handler = logging.StreamHandler(written)
    handler.setFormatter(logs._JsonLines())
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    kopf.setLevel(logging.DEBUG)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)
    kopf.setLevel(kopf_level)


@pytest.fixture
async def operator(tmp_path: Path, log: io.StringIO) -> AsyncIterator[Operating]:
    """Run an operator whose kubeconfig holds a token."""
    kinds = [crd.definition(), compute_domain_definition()]
    async with Sandbox(objects=[*kinds, *sample_fleet()]) as cluster:
        path = tmp_path / "kubeconfig"
        cluster.write_kubeconfig(path)
        document = yaml.safe_load(path.read_text())
        for user in document["users"]:
            user["user"]["token"] = TOKEN
        path.write_text(yaml.safe_dump(document))
        running = Operating(cluster, path)
        await running.start()
        try:
            yield running
        finally:
            await running.stop()


async def test_no_line_holds_a_secret_and_each_about_an_object_names_it(operator: Operating, log: io.StringIO) -> None:
    """Neither the token of the operator, nor an ssh key that it makes, nor the value of a user's variable."""
    large = a_model("keys", "meta-llama/Llama-3.1-405B", 16, model_contextLength=8192)
    large["spec"]["engine"] = {"name": "tensorrt-llm", "env": [{"name": "PASSWORD", "value": PASSWORD}]}
    operator.cluster.create(large)
    await operator.until(lambda: operator.cluster.list("secrets"), "a Secret with keys")
    (secret,) = operator.cluster.list("secrets")
    operator.cluster.create(a_model("llama"))
    await operator.until(lambda: "GroupReady" in operator.events("llama"), "the last Event")
    text = log.getvalue()
    keys = [value for value in {**secret.get("data", {}), **secret.get("stringData", {})}.values() if len(value) > 40]
    assert keys
    for hidden in (TOKEN, PASSWORD, "PRIVATE KEY", *keys):
        assert hidden not in text
    lines = [json.loads(line) for line in text.splitlines()]
    about = [line for line in lines if line["logger"].startswith("shardwise") and "llama" in line["message"]]
    assert about
    assert {(line.get("namespace"), line.get("name")) for line in about} == {("default", "llama")}
    (ready,) = [line for line in about if "GroupReady" in line["message"]]
    assert (ready["replica"], ready["attempt"]) == (0, 0)
