#!/bin/sh
# vLLM 0.33.0 lets parts of a merged fp8 weight end inside a quantisation block, and then cannot load their scales.
#
# Gate and up, and queries, keys and values, are computed as one matrix each. For `quant_method: fp8` with a
# `weight_block_size`, vLLM waives the check that each part has whole blocks (linear.py,
# _maybe_allow_fp8_block_shape_mismatch, since 0.14.0), so one expects such a checkpoint to be served. The loader rounds
# the scales of each part up, but makes the matrix of scales for the sum of the parts (adjust_block_scale_shard,
# create_fp8_scale_parameter): parts of 1.5 blocks need 2 + 2 rows of 3, and loading ends in a RuntimeError. Shards of
# less than a block fail alike, see vllm-project/vllm#52997.
#
# Remedy: a tensor degree at which every part has whole blocks. Model classes with a loader of their own (MiMo V2) are
# not affected. This script fails if the behaviour changes. It needs Python 3.11, a network for pip and 8 GB of disk,
# because PyPI's torch comes with CUDA; it needs no GPU, and no weights.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip="$folder/venv/bin/pip --quiet --disable-pip-version-check --no-cache-dir"
$pip install torch==2.14.0 torchvision==0.29.0 "transformers==5.19.0" aiohttp anthropic blake3 cachetools cbor2 \
  cloudpickle einops "fastapi<0.137" filelock ijson jsonschema lark llguidance==1.7.6 loguru mistral_common msgspec \
  numpy openai openai_harmony opentelemetry-api opentelemetry-sdk orjson partial-json-parser pillow \
  prometheus-fastapi-instrumentator protobuf psutil py-cpuinfo pybase64 pydantic python-json-logger python-multipart \
  pyyaml pyzmq regex requests safetensors sentencepiece setproctitle tiktoken tqdm nvidia-ml-py uvicorn uvloop \
  watchfiles xgrammar==0.2.8
$pip install --no-deps compressed-tensors==0.17.0 vllm==0.33.0
cat > "$folder/asks.py" <<'PYTHON'
import os

os.environ.update(VLLM_TARGET_DEVICE="cpu", HF_HUB_OFFLINE="1", VLLM_LOGGING_LEVEL="ERROR", VLLM_NO_USAGE_STATS="1")
import torch
import vllm.distributed.parallel_state as state
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.model_executor.layers.linear import MergedColumnParallelLinear, UnquantizedLinearMethod
from vllm.model_executor.layers.quantization.utils.fp8_utils import create_fp8_scale_parameter
from vllm.model_executor.parameter import BlockQuantScaleParameter

BLOCK = [128, 128]


class Blocks:
    """As much of a configuration of fp8 blocks as a layer asks for."""

    weight_block_size = BLOCK
    online_quantization_config = None

    def get_quant_method(self, layer, prefix=""):
        return UnquantizedLinearMethod()


state._TP = type("One", (), {"world_size": 1, "rank_in_group": 0})()
for columns in (256, 192, 10944):
    with set_current_vllm_config(VllmConfig()):
        layer = MergedColumnParallelLinear(128, [columns, columns], bias=False, quant_config=Blocks())
        layer.weight_block_size = BLOCK
        scale = create_fp8_scale_parameter(
            BlockQuantScaleParameter, [columns, columns], 128, BLOCK, layer.weight_loader_v2
        )
        checked = "passes unchecked" if layer.allow_fp8_block_shape_mismatch else "is checked"
        rows = -(-columns // BLOCK[0])
        try:
            for part in (0, 1):
                layer.weight_loader_v2(scale, torch.ones(rows, 1), part)
            loaded = "loads"
        except RuntimeError as error:
            loaded = str(error).strip()
        print(f"two parts of {columns}: {checked}; {loaded}")
PYTHON
seen=$("$folder/venv/bin/python" "$folder/asks.py" 2>/dev/null)
echo "$seen"
expected="two parts of 256: is checked; loads
two parts of 192: passes unchecked; start (2) + length (2) exceeds dimension size (3).
two parts of 10944: passes unchecked; start (86) + length (86) exceeds dimension size (171)."
if [ "$seen" != "$expected" ]; then
  echo "the behaviour has changed" >&2
  exit 1
fi
# Output of 2026-11-29, Python 3.11.7:
#   two parts of 256: is checked; loads
#   two parts of 192: passes unchecked; start (2) + length (2) exceeds dimension size (3).
#   two parts of 10944: passes unchecked; start (86) + length (86) exceeds dimension size (171).
