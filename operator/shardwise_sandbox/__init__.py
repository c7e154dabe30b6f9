"""An in-memory Kubernetes API with a toy scheduler and toy kubelets, for ``make demo`` and the operator's tests.

Good enough that kopf, ``kubernetes.aio`` and ``kubectl`` cannot tell, and nothing else: it knows neither of them.

```python
async with Sandbox(objects=[crd, *sample_fleet()]) as cluster:
    cluster.create(model)  # synchronous conveniences: create, apply, patch, get, find, list, names, delete
    await cluster.wait_for(lambda: cluster.names("pods"), what="the pods of the model")
    cluster.kubelet.fail("default", "llama-0", exit_code=1, message="CUDA error")
    cluster.kubelet.set_node_ready("h100-1", False)
    cluster.faults = lambda request: Fault.lose_answer() if request.method == "PATCH" else None
    cluster.drop_watches()  # and compact(), bookmark()
    assert not [request for request in cluster.requests if request.is_write]
```

``cluster.url`` and ``cluster.write_kubeconfig(path)`` serve clients. Without ``async with`` there is no server, and
``cluster.settle()`` runs scheduler, kubelets and garbage collector until they are done.

What differs from a real server: CEL rules are evaluated only with ``Sandbox(cel_evaluator=...)``; there is no
authentication, no admission webhook, no conversion between versions but events', no protobuf, no quota; built-in kinds
are validated only where operators err (names, containers, what pods may change); nobody evicts pods from a lost node by
itself.
"""

from shardwise_sandbox.admission import Options
from shardwise_sandbox.compute_domains import compute_domain_definition
from shardwise_sandbox.deletion import DeleteOptions
from shardwise_sandbox.errors import ApiError
from shardwise_sandbox.faults import Fault, FaultHook, RequestInfo
from shardwise_sandbox.fleet import gb200_tray, h100_node, l40s_node, node, sample_fleet
from shardwise_sandbox.kubelet import Delays, Kubelet
from shardwise_sandbox.sandbox import Sandbox
from shardwise_sandbox.scheduler import Scheduler
from shardwise_sandbox.store import Store

__all__ = [
    "ApiError",
    "Delays",
    "DeleteOptions",
    "Fault",
    "FaultHook",
    "Kubelet",
    "Options",
    "RequestInfo",
    "Sandbox",
    "Scheduler",
    "Store",
    "compute_domain_definition",
    "gb200_tray",
    "h100_node",
    "l40s_node",
    "node",
    "sample_fleet",
]
