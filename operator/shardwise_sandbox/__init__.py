"""An in-memory Kubernetes API with a toy scheduler and toy kubelets, for ``make demo`` and the operator's tests.

kopf, ``kubernetes.aio`` and ``kubectl`` work with it as with a real cluster. It imports none of them.

```python
async with Sandbox(objects=[crd, *sample_fleet()]) as cluster:
    cluster.create(sharded_model)  # synchronous conveniences: create, apply, patch, get, find, list, names, delete
    await cluster.wait_for(lambda: cluster.names("pods"), what="the pods of the model")
    cluster.kubelet.fail("default", "llama-0", exit_code=1, message="CUDA error")
    cluster.kubelet.set_node_ready("h100-1", False)
    cluster.engines.answers = lambda pod, question: Reply(200, "vllm:cache_config_info{...} 1.0")
    cluster.faults = lambda request: Fault.lose_answer() if request.method == "PATCH" else None
    cluster.drop_watches()  # and compact(), bookmark()
    assert not [request for request in cluster.requests if request.is_write]
```

Clients connect to ``cluster.url``, or with the file of ``cluster.write_kubeconfig(path)``. Without ``async with`` there
is no server; ``cluster.settle()`` then runs scheduler, kubelets and garbage collector until they are done.

It differs from a real server in these points:

- CEL rules are evaluated only with ``Sandbox(cel_evaluator=...)``.
- There is no authentication, no admission webhook, no protobuf and no quota. Only Events convert between versions.
- Built-in kinds are validated where operators make mistakes: names, containers, and the fields a pod may change.
- A lost node keeps its pods until a test evicts them.
"""

from shardwise_sandbox.admission import WriteOptions
from shardwise_sandbox.compute_domains import compute_domain_definition
from shardwise_sandbox.deletion import DeleteOptions
from shardwise_sandbox.engines import Engines, Question, Reply
from shardwise_sandbox.errors import ApiError
from shardwise_sandbox.faults import Fault, FaultHook, RequestInfo
from shardwise_sandbox.kubelet import Delays, Kubelet
from shardwise_sandbox.kueue import queue_objects
from shardwise_sandbox.pod_groups import pod_group_definition
from shardwise_sandbox.sample_nodes import gb200_tray, h100_node, l40s_node, node, sample_fleet
from shardwise_sandbox.sandbox import Sandbox
from shardwise_sandbox.scheduler import Scheduler
from shardwise_sandbox.store import ObjectStore

__all__ = [
    "ApiError",
    "Delays",
    "DeleteOptions",
    "Engines",
    "Fault",
    "FaultHook",
    "Kubelet",
    "ObjectStore",
    "Question",
    "Reply",
    "RequestInfo",
    "Sandbox",
    "Scheduler",
    "WriteOptions",
    "compute_domain_definition",
    "gb200_tray",
    "h100_node",
    "l40s_node",
    "node",
    "pod_group_definition",
    "queue_objects",
    "sample_fleet",
]
