"""Model facts from outside: the object's own config, the catalog, or the Hugging Face Hub; the only user of the latter.

Only small files are fetched: ``config.json``, ``hf_quant_config.json`` and the safetensors index. No weights.
"""

from shardwise.hub.facts import FactsUnavailable, model_facts

__all__ = ["FactsUnavailable", "model_facts"]
