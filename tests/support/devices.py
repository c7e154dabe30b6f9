"""Objects of dynamic resource allocation as NVIDIA's driver and the scheduler write them."""

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

DRIVER = "gpu.nvidia.com"
H100 = "NVIDIA H100 80GB HBM3"
H100_BYTES = "85520809984"
"""As NVML says it: 81559 MiB."""

WHOLE = "device.driver == 'gpu.nvidia.com' && device.attributes['gpu.nvidia.com'].type == 'gpu'"
"""The selector of the class that NVIDIA's chart makes."""


def a_device(number: int = 0, *, product: str = H100, memory: str = H100_BYTES, **more: Any) -> Json:
    """Give a GPU as the driver lists it; ``more`` are further fields of the device."""
    attributes: Json = {
        "type": {"string": "gpu"},
        "uuid": {"string": f"GPU-{number}"},
        "productName": {"string": product},
        "architecture": {"string": "Hopper"},
        "cudaComputeCapability": {"version": "9.0.0"},
        "driverVersion": {"version": "580.126.20"},
        "resource.kubernetes.io/pciBusID": {"string": f"0000:{number:02x}:00.0"},
    }
    attributes |= more.pop("attributes", {})
    return {"name": f"gpu-{number}", "attributes": attributes, "capacity": {"memory": {"value": memory}}, **more}


def a_part(number: int, part: int, **more: Any) -> Json:
    """Give a MIG device of a GPU."""
    named = a_device(number, memory="10200547328", **more)
    named["attributes"] |= {"type": {"string": "mig"}, "profile": {"string": "1g.10gb"}}
    return named | {"name": f"gpu-{number}-mig-1g10gb-{part}"}


def a_slice(
    node: str,
    devices: Iterable[Json] | int = 8,
    *,
    name: str = "",
    driver: str = DRIVER,
    generation: int = 1,
    count: int = 1,
    **spec: Any,
) -> Json:
    """Give a ResourceSlice of a node; a number stands for so many H100."""
    listed = [a_device(number) for number in range(devices)] if isinstance(devices, int) else list(devices)
    pool = {"name": node, "generation": generation, "resourceSliceCount": count}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": name or f"{node}-{driver}"},
        "spec": {"driver": driver, "nodeName": node, "pool": pool, "devices": listed} | spec,
    }


def a_class(name: str = DRIVER, *expressions: str, resource: str | None = None) -> Json:
    """Give a DeviceClass; by default the class that NVIDIA's chart makes."""
    spec: Json = {"selectors": [{"cel": {"expression": text}} for text in expressions or (WHOLE,)]}
    if resource is not None:
        spec["extendedResourceName"] = resource
    return {"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": name}, "spec": spec}


def a_claim(
    name: str,
    node: str,
    devices: Iterable[str],
    *pods: str,
    namespace: str = "default",
    by_resource: bool = False,
    owner: str | None = None,
    driver: str = DRIVER,
    **result: Any,
) -> Json:
    """Give an allocated claim, reserved for pods; ``result`` are further fields of each result."""
    results = [{"request": "gpus", "driver": driver, "pool": node, "device": each, **result} for each in devices]
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]
    metadata: Json = {"name": name, "namespace": namespace}
    if by_resource:
        metadata["annotations"] = {"resource.kubernetes.io/extended-resource-claim": "true"}
    if owner is not None:
        metadata["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "Pod", "name": owner, "uid": "", "controller": True}
        ]
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": metadata,
        "status": {
            "allocation": {"devices": {"results": results}, "nodeSelector": {"nodeSelectorTerms": terms}},
            "reservedFor": [{"resource": "pods", "name": pod, "uid": ""} for pod in pods],
        },
    }


def names(*numbers: int) -> list[str]:
    """Name GPUs by their numbers."""
    return [f"gpu-{number}" for number in numbers]
