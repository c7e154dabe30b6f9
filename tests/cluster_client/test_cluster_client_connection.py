"""Where the API server is, and who we are: every way a kubeconfig says it."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from shardwise.cluster import Refused, connect


def write(path: Path, user: dict[str, Any], **cluster: Any) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://example.com:6443", **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(config))
    return path


async def test_a_token_is_given_without_its_scheme(tmp_path: Path) -> None:
    connection = await connect(write(tmp_path / "k", {"token": "secret"}))
    assert (connection.server, connection.token, connection.insecure) == ("https://example.com:6443", "secret", False)


async def test_a_token_in_a_file_is_read_again_when_renewed(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    connection = await connect(write(tmp_path / "k", {"tokenFile": str(token)}))
    token.write_text("new")
    assert (connection.token, (await connection.renewed()).token) == ("old", "new")


async def test_certificates_come_as_files_or_inside(tmp_path: Path) -> None:
    inside = base64.b64encode(b"PEM").decode()
    user = {"client-certificate-data": inside, "client-key-data": inside}
    connection = await connect(write(tmp_path / "k", user, **{"certificate-authority-data": inside}))
    paths = (connection.certificate_path, connection.private_key_path, connection.ca_path)
    assert [path and Path(path).read_bytes() for path in paths] == [b"PEM"] * 3  # noqa: ASYNC240 - a test's own files
    assert connection.token is None


async def test_an_insecure_cluster_is_known_as_one(tmp_path: Path) -> None:
    path = write(tmp_path / "k", {"token": "t"}, **{"insecure-skip-tls-verify": True})
    assert (await connect(path)).insecure


@pytest.mark.parametrize(
    "content", ["", "a: [", "kind: Config", "clusters: []\ncontexts: []\nusers: []\ncurrent-context: x"]
)
async def test_a_broken_kubeconfig_is_told_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "k"
    path.write_text(content)
    with pytest.raises(Refused, match="no cluster to talk to: "):
        await connect(path)


async def test_a_missing_kubeconfig_is_told(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no cluster to talk to: "):
        await connect(tmp_path / "nowhere")


async def test_a_missing_context_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="nowhere"):
        await connect(write(tmp_path / "k", {"token": "t"}), "nowhere")
