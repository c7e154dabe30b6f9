"""Open MPI over ssh between the pods of a group: files, keys, and the words of `mpirun`.

The leader's mpirun reaches every follower's ssh server with a key pair the operator made for the object; nobody else
holds it, and both ends are checked. Releases 4 and 5 of Open MPI take these words.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from shardwise.domain.launch import EnvVar
from shardwise.engines.launch import File

FOLDER: Final = "/etc/shardwise"
"""Where pods find their files."""

KEYS_FOLDER: Final = "/etc/shardwise-ssh"
"""Where pods find the keys, one file for each name below."""

CLIENT_KEY: Final = "id"
HOST_KEY: Final = "host"
AUTHORIZED_KEYS: Final = "authorized_keys"
KNOWN_HOSTS: Final = "known_hosts"

HOST_ALIAS: Final = "shardwise"
"""The name all followers' host key is known by."""

SSH_PORT: Final = 2222

_SERVER: Final = f"""\
Port {SSH_PORT}
HostKey {KEYS_FOLDER}/{HOST_KEY}
AuthorizedKeysFile {KEYS_FOLDER}/{AUTHORIZED_KEYS}
StrictModes no
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
AllowAgentForwarding no
AllowTcpForwarding no
X11Forwarding no
PrintMotd no
PidFile none
MaxStartups 1024
ClientAliveInterval 15
ClientAliveCountMax 4
"""
"""StrictModes looks at the folder of the keys, which for a Secret is a memory file system that others may write to."""

_CLIENT: Final = f"""\
Host *
  Port {SSH_PORT}
  User root
  IdentityFile {KEYS_FOLDER}/{CLIENT_KEY}
  IdentitiesOnly yes
  HostKeyAlias {HOST_ALIAS}
  UserKnownHostsFile {KEYS_FOLDER}/{KNOWN_HOSTS}
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout 10
  ConnectionAttempts 10
  ServerAliveInterval 15
  ServerAliveCountMax 4
  LogLevel ERROR
"""
"""The alive messages end a session whose follower is gone, and with it the job, the leader and the group."""

SERVER_FILE: Final = f"{FOLDER}/sshd_config"

FILES: Final = (File(SERVER_FILE, _SERVER), File("/etc/ssh/ssh_config", _CLIENT))
"""The client's stands where ssh looks for it, whoever starts it: words with blanks are then needed nowhere."""

_SERVER_SCRIPT: Final = f"""\
import os, shutil, sys
server = shutil.which('sshd', path='/usr/sbin:/usr/local/sbin:' + os.defpath)
if server is None:
    sys.exit('this image has no sshd: TensorRT-LLM over several nodes needs openssh-server and openssh-client in it')
os.makedirs('/run/sshd', 0o755, exist_ok=True)
os.execv(server, [server, '-D', '-e', '-f', '{SERVER_FILE}'])
"""

_LEADER_SCRIPT: Final = """\
import os, shutil, sys
missing = [name for name in ('mpirun', 'ssh', 'trtllm-llmapi-launch') if shutil.which(name) is None]
if missing:
    sys.exit('this image has no ' + ', '.join(missing) + ': TensorRT-LLM over several nodes needs them')
program = shutil.which('mpirun')
os.execv(program, [program, *sys.argv[1:]])
"""
"""By its whole path: mpirun then tells the other end where to find the rest of Open MPI."""

FOLLOWER_COMMAND: Final = ("python3", "-c", _SERVER_SCRIPT)
LEADER_COMMAND: Final = ("python3", "-c", _LEADER_SCRIPT)

_FROM_THE_IMAGE: Final = ("PATH", "LD_LIBRARY_PATH")
"""Set by the image for its containers, and unknown to a session of ssh."""


def variables(interface: str | None) -> Iterator[EnvVar]:
    """Give the variables of Open MPI: names of hosts stay whole, and its own traffic keeps to the interface."""
    yield EnvVar("OMPI_MCA_orte_keep_fqdn_hostnames", value="1")
    yield EnvVar("PRTE_MCA_prte_keep_fqdn_hostnames", value="1")
    if interface is not None:
        yield EnvVar("OMPI_MCA_btl_tcp_if_include", value=interface)
        yield EnvVar("OMPI_MCA_oob_tcp_if_include", value=interface)


def words(slots: tuple[tuple[str, int], ...], env: Iterable[EnvVar]) -> tuple[str, ...]:
    """Give the words of mpirun up to the program it runs.

    ``slots`` are hosts with their GPUs, in the order of their ranks; each is filled before the next, so that a rank
    runs where it was planned. ``env`` is forwarded by name: ranks on followers are started by ssh, which has nothing.
    """
    hosts = ",".join(f"{host}:{gpus}" for host, gpus in slots)
    ranks = sum(gpus for _, gpus in slots)
    names = (*_FROM_THE_IMAGE, *(one.name for one in env if one.field is None))
    forwarded = (word for name in names for word in ("-x", name))
    start = ("--allow-run-as-root", "-n", str(ranks), "-H", hosts, "--map-by", "slot", "--bind-to", "none")
    return (*start, "--mca", "pml", "ob1", *forwarded)
