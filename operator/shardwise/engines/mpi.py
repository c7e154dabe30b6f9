"""Open MPI over ssh between the pods of a group: files, keys, and the words of `mpirun`.

The leader's mpirun connects to every follower's ssh server with a key pair that the operator makes for the object.
Nobody else holds the keys, and both ends check each other. Releases 4 and 5 of Open MPI take these words.
"""

from collections.abc import Iterable
from typing import Final

from shardwise.domain.launch import EnvVar
from shardwise.engines.launch import File
from shardwise.engines.options import Variable, between_pods

FOLDER: Final = "/etc/shardwise"
"""The folder of a pod's files."""

KEYS_FOLDER: Final = "/etc/shardwise-ssh"
"""The folder of the keys, with a file for each name below."""

CLIENT_KEY: Final = "id"
HOST_KEY: Final = "host"
AUTHORIZED_KEYS: Final = "authorized_keys"
KNOWN_HOSTS: Final = "known_hosts"

HOST_ALIAS: Final = "shardwise"
"""The name by which ssh knows the host key of all followers."""

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
"""StrictModes is off: it refuses the folder of the keys, because a Secret's folder is writable for others."""

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
"""The alive messages end the session of a lost follower, and so end the job, the leader and the group."""

SERVER_FILE: Final = f"{FOLDER}/sshd_config"

FILES: Final = (File(SERVER_FILE, _SERVER), File("/etc/ssh/ssh_config", _CLIENT))
"""The client file is where ssh always looks for it. So no command needs a word with blanks to name the file."""

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
"""Starts mpirun by its whole path, so that mpirun tells the other pods where to find Open MPI."""

FOLLOWER_COMMAND: Final = ("python3", "-c", _SERVER_SCRIPT)
LEADER_COMMAND: Final = ("python3", "-c", _LEADER_SCRIPT)

_FROM_THE_IMAGE: Final = ("PATH", "LD_LIBRARY_PATH")
"""Variables that the image sets for its containers and that an ssh session does not have."""


VARIABLES: Final = (
    Variable("OMPI_MCA_orte_keep_fqdn_hostnames", "the host list", between_pods(lambda _: "1")),
    Variable("PRTE_MCA_prte_keep_fqdn_hostnames", "the host list", between_pods(lambda _: "1")),
    *(
        Variable(name, "the network interface", between_pods(lambda pod: pod.wanted.site.interface), yields=True)
        for name in ("OMPI_MCA_btl_tcp_if_include", "OMPI_MCA_oob_tcp_if_include")
    ),
)
"""Variables of Open MPI: names of hosts stay whole, and its own traffic uses the configured interface."""


def words(slots: tuple[tuple[str, int], ...], env: Iterable[EnvVar]) -> tuple[str, ...]:
    """Give the words of mpirun in front of the program that it runs.

    ``slots`` are hosts with their GPUs, in the order of their ranks; mpirun fills each host before the next, so that
    every rank runs where it was planned. ``env`` is forwarded by name, because an ssh session has none of it.
    """
    hosts = ",".join(f"{host}:{gpus}" for host, gpus in slots)
    ranks = sum(gpus for _, gpus in slots)
    names = (*_FROM_THE_IMAGE, *(variable.name for variable in env if variable.field is None))
    forwarded = (word for name in names for word in ("-x", name))
    start = ("--allow-run-as-root", "-n", str(ranks), "-H", hosts, "--map-by", "slot", "--bind-to", "none")
    return (*start, "--mca", "pml", "ob1", *forwarded)
