"""Facts about GPU products, by the value of a node label, ``nvidia.com/gpu.product`` or ``amd.com/gpu.product-name``.

Bandwidths are bytes per second and one direction, compute is dense FLOP per second. Memory is never taken from here:
the node's own label says it. Sources: ai-dynamo/aiconfigurator@095f58a51 system files for links and bandwidth,
the vendors' data sheets for the rest. AMD's Infinity Fabric joins each GPU of a board to each other; its links add up.
"""

from dataclasses import dataclass
from typing import Final

GB: Final = 10**9
TERA: Final = 10**12


@dataclass(frozen=True, slots=True)
class GpuKind:
    """One GPU product. ``nvlink`` is ``None`` where no NVLink between all GPUs of a node is proven.

    ``rack`` products keep NVLink between the nodes of a clique. ``proven`` is false for a product nobody listed.
    """

    product: str
    hbm: float
    flops: float
    nvlink: float | None
    pcie: float
    rack: bool = False
    proven: bool = True


def _kind(
    product: str, hbm_tb: float, tflops: int, link_gb: int | None, pcie_gb: int, *, rack: bool = False
) -> GpuKind:
    link = link_gb * GB if link_gb is not None else None
    return GpuKind(product, hbm_tb * TERA, tflops * TERA, link, pcie_gb * GB, rack)


_KINDS: Final = {
    kind.product: kind
    for kind in (
        _kind("A100-SXM4-40GB", 1.56, 312, 300, 32),
        _kind("A100-SXM4-80GB", 2.04, 312, 300, 32),
        _kind("H100-80GB-HBM3", 3.35, 989, 450, 64),
        _kind("H200", 4.8, 989, 450, 64),
        _kind("B200", 8.0, 2250, 900, 64),
        _kind("B300", 8.0, 2250, 900, 64),
        _kind("GB200", 8.0, 2500, 900, 64, rack=True),
        _kind("GB300", 8.0, 2500, 900, 64, rack=True),
        _kind("H100-PCIe", 2.0, 756, None, 64),
        _kind("H100-NVL", 3.9, 835, None, 64),
        _kind("A100-80GB-PCIe", 1.94, 312, None, 32),
        _kind("A100-PCIE-40GB", 1.56, 312, None, 32),
        _kind("L40S", 0.864, 362, None, 32),
        _kind("L4", 0.30, 121, None, 32),
        _kind("RTX-PRO-6000-Blackwell-Server-Edition", 1.6, 500, None, 64),
        _kind("Tesla-T4", 0.32, 65, None, 16),
        _kind("Instinct_MI300X_OAM", 5.3, 1307, 448, 64),
        _kind("Instinct_MI325_OAM", 6.0, 1307, 448, 64),
        _kind("Instinct_MI210", 1.6, 181, None, 32),
    )
}
_UNKNOWN_HBM: Final = 1.0 * TERA
_UNKNOWN_FLOPS: Final = 100 * TERA
_UNKNOWN_PCIE: Final = 32 * GB


def bare_product(product: str) -> str:
    """Strip the vendor, which old drivers leave out, and what is appended for shared and partitioned GPUs."""
    return product.partition("-MIG-")[0].removesuffix("-SHARED").removeprefix("NVIDIA-").removeprefix("AMD_")


def gpu_kind(product: str) -> GpuKind:
    """Look a product up exactly. An unknown one has no proven NVLink and cautious speeds."""
    bare = bare_product(product)
    unknown = GpuKind(bare, _UNKNOWN_HBM, _UNKNOWN_FLOPS, None, _UNKNOWN_PCIE, proven=False)
    return _KINDS.get(bare, unknown)
