"""Where the API server is and who we are: from a kubeconfig, or from inside a pod."""

from dataclasses import dataclass, field
from pathlib import Path

from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException

from shardwise.cluster.errors import Refused


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection's parameters, for the client here and for the watches of the controller.

    Paths are of PEM files. ``token`` is without its scheme. Tokens and certificates rotate: what the API server no
    longer takes is :meth:`renewed`.
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

    def client(self) -> ApiClient:
        """Make a client. Whoever makes it closes it."""
        return ApiClient(configuration=self.settings)

    async def renewed(self) -> "Connection":
        """Read again what it was made from. Raises :class:`Refused` where that is gone."""
        return await connect(self.kubeconfig, self.context)


async def connect(kubeconfig: Path | None = None, context: str | None = None) -> Connection:
    """Connect by a kubeconfig, its default place, or the pod's own service account. No request is made yet.

    Raises :class:`Refused` where neither is there.
    """
    settings = Configuration()
    try:
        await _load(settings, kubeconfig, context)
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
    )


def _brief(error: Exception) -> str:
    known = isinstance(error, ConfigException | OSError)
    return str(error) if known else f"the kubeconfig cannot be read: {str(error).splitlines()[0]}"


async def _load(settings: Configuration, kubeconfig: Path | None, context: str | None) -> None:
    if kubeconfig is not None or context is not None:
        path = None if kubeconfig is None else str(kubeconfig)
        await config.load_kube_config(config_file=path, context=context, client_configuration=settings)
        return
    try:
        config.load_incluster_config(client_configuration=settings)
    except ConfigException:
        await config.load_kube_config(client_configuration=settings)
