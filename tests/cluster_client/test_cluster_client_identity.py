"""Who we are, where it is easily got wrong: certificates in files, default places, contexts, a pod's own account."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster_client.support import a_kubeconfig

from shardwise.cluster import Refused, connect

SERVER = "https://example.com:6443"
IN_CLUSTER = "kubernetes.aio.config.incluster_config"
DEFAULT_PLACE = "kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the machine's own kubeconfig and service account out of every test."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_PORT", raising=False)
    monkeypatch.setattr(DEFAULT_PLACE, str(tmp_path / "default"))


@pytest.fixture
def in_a_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Mount a service account, and give its folder."""
    (tmp_path / "token").write_text("secret")
    (tmp_path / "ca.crt").write_text("PEM")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(f"{IN_CLUSTER}.SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(f"{IN_CLUSTER}.SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    return tmp_path


async def test_certificates_in_files_are_named_by_their_paths(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("cert", "key", "ca")}
    for file in files.values():
        file.write_text("PEM")
    user = {"client-certificate": str(files["cert"]), "client-key": str(files["key"])}
    cluster = {"certificate-authority": str(files["ca"])}
    connection = await connect(a_kubeconfig(tmp_path / "kubeconfig", SERVER, user, **cluster))
    assert connection.certificate_path == str(files["cert"])
    assert connection.private_key_path == str(files["key"])
    assert connection.ca_path == str(files["ca"])
    assert (connection.token, connection.insecure) == (None, False)


async def test_a_user_without_credentials_has_none(tmp_path: Path) -> None:
    """A proxy on the loopback interface asks for none."""
    connection = await connect(a_kubeconfig(tmp_path / "kubeconfig", SERVER, {}))
    assert (connection.token, connection.certificate_path, connection.private_key_path) == (None, None, None)


async def test_the_context_asked_for_wins_over_the_current_one(tmp_path: Path) -> None:
    """And is kept when the credentials are read again."""
    path = a_kubeconfig(tmp_path / "kubeconfig", SERVER, {"token": "t"})
    config = yaml.safe_load(path.read_text())
    config["clusters"].append({"name": "d", "cluster": {"server": "https://other.example.com"}})
    config["contexts"].append({"name": "y", "context": {"cluster": "d", "user": "u"}})
    path.write_text(yaml.safe_dump(config))
    assert (await connect(path)).server == SERVER
    other = await connect(path, "y")
    assert [one.server for one in (other, await other.renewed())] == ["https://other.example.com"] * 2


async def test_outside_a_cluster_the_default_place_is_read(tmp_path: Path) -> None:
    a_kubeconfig(tmp_path / "default", SERVER, {"token": "t"})
    assert (await connect()).server == SERVER


async def test_with_neither_a_pod_nor_a_kubeconfig_there_is_no_cluster() -> None:
    with pytest.raises(Refused, match="no cluster to talk to: .+") as caught:
        await connect()
    assert "\n" not in str(caught.value)


async def test_in_a_pod_its_service_account_is_used(in_a_pod: Path) -> None:
    """And comes before a kubeconfig in the default place."""
    a_kubeconfig(in_a_pod / "default", SERVER, {"token": "t"})
    connection = await connect()
    assert (connection.server, connection.ca_path) == ("https://10.0.0.1:443", str(in_a_pod / "ca.crt"))
    assert not connection.insecure


async def test_in_a_pod_a_kubeconfig_that_is_named_wins(in_a_pod: Path) -> None:
    assert (await connect(a_kubeconfig(in_a_pod / "named", SERVER, {"token": "t"}))).server == SERVER


BROKEN: dict[str, Callable[[dict[str, Any]], object]] = {
    "no users": lambda config: config.pop("users"),
    "no clusters": lambda config: config.pop("clusters"),
    "no contexts": lambda config: config.pop("contexts"),
    "no current context": lambda config: config.pop("current-context"),
    "a context of nothing": lambda config: config["contexts"][0].pop("context"),
    "users that are a number": lambda config: config.update(users=7),
    "a certificate that is nowhere": lambda config: config["users"][0]["user"].update(
        {"client-certificate": "/nowhere/cert", "client-key": "/nowhere/key"}
    ),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_kubeconfig_that_lacks_something_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    path = a_kubeconfig(tmp_path / "kubeconfig", SERVER, {"token": "t"})
    config = yaml.safe_load(path.read_text())
    BROKEN[name](config)
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(Refused) as caught:
        await connect(path)
    prefix, _, said = str(caught.value).partition(": ")
    assert (prefix, "\n" in said, len(said) > 10) == ("no cluster to talk to", False, True)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"7", b"[]", b"null", b"a: &a [*a]", b"\x00"])
async def test_a_kubeconfig_that_is_none_is_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "kubeconfig"
    path.write_bytes(content)
    with pytest.raises(Refused, match="no cluster to talk to: .+") as caught:
        await connect(path)
    assert "\n" not in str(caught.value)


async def test_a_folder_is_no_kubeconfig(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no cluster to talk to: "):
        await connect(tmp_path)


async def test_a_kubeconfig_that_went_away_cannot_be_renewed(tmp_path: Path) -> None:
    path = a_kubeconfig(tmp_path / "kubeconfig", SERVER, {"token": "t"})
    connection = await connect(path)
    path.unlink()
    with pytest.raises(Refused, match="no cluster to talk to: "):
        await connection.renewed()


async def test_what_is_printed_of_a_connection_leaves_its_settings_out(tmp_path: Path) -> None:
    """They hold every credential once more."""
    assert "settings" not in repr(await connect(a_kubeconfig(tmp_path / "kubeconfig", SERVER, {"token": "t"})))
