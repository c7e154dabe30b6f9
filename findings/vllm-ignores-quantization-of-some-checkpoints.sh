#!/bin/sh
# vLLM 0.33.0 ignores `--quantization fp8` without a word for some quantised checkpoints, and refuses it for others.
#
# The option says how the weights shall be quantised. For a checkpoint of another method one expects a refusal, and gets
# it for compressed-tensors and AWQ: "does not match the quantization method specified in the `quantization` argument".
# For NVFP4 checkpoints of Model Optimizer, and for AutoRound, vLLM replaces the option by the checkpoint's own method
# (config/model.py, _verify_quantization: override_quantization_method wins over the argument): the model is served in 4
# bits, and neither log nor API say that the option was dropped.
#
# Remedy: leave the option out for quantised checkpoints. This script fails if the behaviour changes. It needs Python
# 3.11, a network for pip and 8 GB of disk, because PyPI's torch comes with CUDA; it needs no GPU, and no weights.
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
import json
import os
import tempfile

os.environ.update(VLLM_TARGET_DEVICE="cpu", HF_HUB_OFFLINE="1", VLLM_LOGGING_LEVEL="ERROR", VLLM_NO_USAGE_STATS="1")
from vllm.config import ModelConfig

PLAIN = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 1024, "intermediate_size": 2048,
    "num_attention_heads": 16, "num_key_value_heads": 8, "num_hidden_layers": 2, "vocab_size": 4096,
    "max_position_embeddings": 4096, "torch_dtype": "bfloat16",
}
NVFP4 = {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "float", "group_size": 16, "dynamic": False}}
FP8 = {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}}
STATED = {
    "modelopt": {
        "quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16, "ignore": [],
        "config_groups": {"group_0": NVFP4},
    },
    "auto-round": {
        "quant_method": "auto-round", "bits": 4, "group_size": 128, "sym": True, "data_type": "int",
        "packing_format": "auto_round:auto_gptq",
    },
    "compressed-tensors": {
        "quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {"group_0": FP8},
    },
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True},
}
for name, stated in STATED.items():
    folder = tempfile.mkdtemp()
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump({**PLAIN, "quantization_config": stated}, file)
    try:
        model = ModelConfig(model=folder, tokenizer=folder, skip_tokenizer_init=True, quantization="fp8")
        print(f"{name}: fp8 became {model.quantization}")
    except Exception as error:
        print(f"{name}: {'refused' if 'does not match' in str(error) else error}")
PYTHON
seen=$("$folder/venv/bin/python" "$folder/asks.py" 2>/dev/null)
echo "$seen"
expected="modelopt: fp8 became modelopt_fp4
auto-round: fp8 became inc
compressed-tensors: refused
awq: refused"
if [ "$seen" != "$expected" ]; then
  echo "the behaviour has changed" >&2
  exit 1
fi
# Output of 2026-11-29, Python 3.11.7:
#   modelopt: fp8 became modelopt_fp4
#   auto-round: fp8 became inc
#   compressed-tensors: refused
#   awq: refused
