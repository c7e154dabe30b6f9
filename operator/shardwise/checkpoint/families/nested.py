"""Language models below ``text_config`` whose ``model_type`` is their own, and whose layers are another family's."""

from collections.abc import Mapping
from typing import Final

from shardwise.checkpoint.blocks import Reader
from shardwise.checkpoint.families import dense, experts

FAMILIES: Final[Mapping[str, Reader]] = {
    "glm4v_moe_text": experts.FAMILIES["glm4_moe"],
    "glm4v_text": dense.FAMILIES["glm4"],
    "glm_ocr_text": dense.FAMILIES["glm4"],
    "qwen2_5_omni_text": dense.FAMILIES["qwen2"],
    "qwen2_5_vl_text": dense.FAMILIES["qwen2"],
    "qwen2_vl_text": dense.FAMILIES["qwen2"],
    "qwen3_omni_moe_text": experts.FAMILIES["qwen3_moe"],
    "qwen3_vl_moe_text": experts.FAMILIES["qwen3_moe"],
    "qwen3_vl_text": dense.FAMILIES["qwen3"],
}
