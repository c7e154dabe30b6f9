#!/bin/sh
# NIXL 1.5.1 moves memory between two containers of one node by TCP, about ten times slower, and says nothing of it.
#
# Prefill and decode engines hand over KV caches by NIXL. One expects that two engines of one node use what the node has:
# the memory of other processes (cma), or CUDA IPC over NVLink. UCX, by which NIXL moves memory, takes these ways only
# between processes of one PID namespace, and each pod has its own. Between two, UCX takes TCP: the transfer ends with
# DONE, the bytes are right, and nothing is logged unless UCX_LOG_LEVEL is set. The same happens between GPUs: two H200 of
# one host moved 280 GB/s in one PID namespace, and 0.5 GB/s between two (torch 2.11.0, CUDA 13.0).
#
# Remedy: RDMA devices for both pods. Separate IPC and UTS namespaces, and GPUs that CUDA_VISIBLE_DEVICES hides from the
# other side, do not matter.
# This script fails if the behaviour changes. It needs Linux on x86-64, Python 3.11 to 3.14, unshare
# (util-linux) and user namespaces, and a network for pip.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
# --no-deps: nixl asks for its builds for CUDA 12 and 13, and these for torch. Host memory needs neither.
"$folder/venv/bin/pip" --quiet install --no-deps "nixl==1.5.1" "nixl-cu13==1.5.1" "numpy==2.3.5"
cat > "$folder/moves.py" <<'PYTHON'
import sys
import time
from multiprocessing.connection import Client, Listener

import numpy as np
from nixl._api import nixl_agent, nixl_agent_config

SIZE, BLOCK, PORT_FILE = 2**28, 2**20, sys.argv[2]
prefill = sys.argv[1] == "prefill"
agent = nixl_agent(sys.argv[1], nixl_agent_config())
memory = np.arange(SIZE // 8).view(np.uint8) if prefill else np.zeros(SIZE, np.uint8)
start = memory.ctypes.data
agent.register_memory([(start, SIZE, 0, "")], "DRAM")


def blocks(first):
    return [(first + at, BLOCK, 0) for at in range(0, SIZE, BLOCK)]


if prefill:
    with Listener(("127.0.0.1", 0)) as listener:
        with open(PORT_FILE, "w") as file:
            file.write(f"{listener.address[1]}\n")
        with listener.accept() as decode:
            decode.send((agent.get_agent_metadata(), start))
            decode.recv()
else:
    while not (port := open(PORT_FILE).read()).endswith("\n"):
        time.sleep(0.1)
    with Client(("127.0.0.1", int(port))) as other:
        metadata, there = other.recv()
        name = agent.add_remote_agent(metadata)
        mine = agent.prep_xfer_dlist("NIXL_INIT_AGENT", blocks(start), "DRAM")
        far = agent.prep_xfer_dlist(name, blocks(there), "DRAM")
        every = list(range(SIZE // BLOCK))
        read = agent.make_prepped_xfer("READ", mine, every, far, every)
        for _ in range(2):
            began = time.perf_counter()
            state = agent.transfer(read)
            while state == "PROC":
                state = agent.check_xfer_state(read)
            seconds = time.perf_counter() - began
        right = bool((memory == np.arange(SIZE // 8).view(np.uint8)).all())
        print(f"{state}, bytes right: {right}, {SIZE / seconds / 1e9:.2f} GB/s", flush=True)
        other.send(None)
PYTHON
# Run both sides: a name for the files, and the command that prefill runs under.
run() {
    name=$1
    shift
    : > "$folder/port-$name"
    "$@" "$folder/venv/bin/python" "$folder/moves.py" prefill "$folder/port-$name" > "$folder/prefill-$name" 2>&1 &
    UCX_LOG_LEVEL=info "$folder/venv/bin/python" "$folder/moves.py" decode "$folder/port-$name" > "$folder/decode-$name" 2>&1
    wait
    echo "$name: $(grep '^DONE, bytes right: True' "$folder/decode-$name")"
}
uses_memory_of_processes() { grep 'intra-node cfg' "$folder/decode-$1" | grep -q 'cma/memory'; }
run together env
run apart unshare --user --map-root-user --pid --fork --mount-proc
uses_memory_of_processes together || { echo "changed: UCX does not use cma in one PID namespace"; exit 1; }
! uses_memory_of_processes apart || { echo "changed: UCX uses cma between PID namespaces"; exit 1; }
echo "as described: cma in one PID namespace, TCP alone between two, and the transfer succeeds"
