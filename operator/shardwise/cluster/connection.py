"""Where the API server is and who we are: from a kubeconfig, or from inside a pod."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException

from shardwise.cluster.errors import Refused

_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where a pod finds the name of its own namespace."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection's parameters, for the client here and for the watches of the controller.

    Paths are of PEM files. ``token`` is without its scheme. Tokens and certificates rotate: a
    connection that the API server no longer accepts is :meth:`renewed`. ``namespace`` is the default.
    """

    server: str
    token: str | None
    ca_path: str | None
    certificate_path: str | None
    private_key_path: str | None
    insecure: bool
    settings: Configuration = field(repr=False)
    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str = "default"

    def client(self) -> ApiClient:
        """Make a client. Whoever makes it closes it."""
        return ApiClient(configuration=self.settings)

    async def renewed(self) -> "Connection":
        """Read its source again. Raises :class:`Refused` where the source is gone."""
        return await connect(self.kubeconfig, self.context)


async def connect(kubeconfig: Path | None = None, context: str | None = None) -> Connection:
    """Connect by a kubeconfig, its default place, or the pod's own service account. No request is made yet.

    Raises :class:`Refused` where neither is there.
    """
    settings = Configuration()
    try:
        namespace = await _load(settings, kubeconfig, context)
    except Exception as error:  # a file of any shape may be there, and the library checks none
        raise Refused(f"no cluster to talk to: {_brief(error)}") from error
    token = (settings.api_key or {}).get("BearerToken")
    return Connection(
        server=settings.host,
        token=None if token is None else str(token).removeprefix("Bearer ").strip(),
        ca_path=settings.ssl_ca_cert,
        certificate_path=settings.cert_file,
        private_key_path=settings.key_file,
        insecure=not settings.verify_ssl,
        settings=settings,
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
    )


def _brief(error: Exception) -> str:
    known = isinstance(error, ConfigException | OSError)
    return str(error) if known else f"the kubeconfig cannot be read: {str(error).splitlines()[0]}"


async def _load(settings: Configuration, kubeconfig: Path | None, context: str | None) -> str:
    """Load the settings, and give the namespace they are for."""
    path = None if kubeconfig is None else str(kubeconfig)
    if kubeconfig is None and context is None:
        try:
            config.load_incluster_config(client_configuration=settings)
        except ConfigException:
            pass
        else:
            return _POD_NAMESPACE.read_text().strip() if _POD_NAMESPACE.is_file() else "default"
    _check_there(path or config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION)
    await config.load_kube_config(config_file=path, context=context, client_configuration=settings)
    contexts, current = config.list_kube_config_contexts(path)
    named = current if context is None else next(known for known in contexts if known["name"] == context)
    return str(named["context"].get("namespace") or "default")


def _check_there(paths: str) -> None:
    """Refuse where no kubeconfig is: the library logs it, and then fails on a key of the missing file."""
    places = [Path(path).expanduser() for path in paths.split(os.pathsep) if path]
    if not any(place.exists() for place in places):
        raise ConfigException(f"no kubeconfig at {', '.join(map(str, places))}")
