"""Products that the engines are made to believe in, as a driver names them."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Gpu:
    """A product as its driver names it. ``memory`` is MiB, as CUDA reports the total."""

    name: str
    capability: tuple[int, int]
    memory: int

    @property
    def level(self) -> int:
        """The capability as a number: 9.0 is 90."""
        return self.capability[0] * 10 + self.capability[1]


GPUS: Final = {
    "T4": Gpu("Tesla T4", (7, 5), 14913),
    "A100": Gpu("NVIDIA A100-SXM4-80GB", (8, 0), 81151),
    "A10": Gpu("NVIDIA A10", (8, 6), 22588),
    "L40S": Gpu("NVIDIA L40S", (8, 9), 45458),
    "H100": Gpu("NVIDIA H100 80GB HBM3", (9, 0), 81079),
    "H200": Gpu("NVIDIA H200", (9, 0), 143152),
    "GB200": Gpu("NVIDIA GB200", (10, 0), 188902),
    "RTX-PRO-6000": Gpu("NVIDIA RTX PRO 6000 Blackwell Server Edition", (12, 0), 97250),
}
"""Products by name: at least one for each compute capability, oldest first."""
