"""The facts of an object's model: from its own config, from the catalog, or from the Hugging Face Hub.

No other package uses the Hub. Only small files are fetched: ``config.json``, ``hf_quant_config.json`` and the
safetensors index. No weights.
"""

from shardwise.hub.answers import HubError, HubFacts, HubQuestion
from shardwise.hub.facts import FactsUnavailable, ask_hub, facts_from, known_facts, model_facts, told

__all__ = [
    "FactsUnavailable",
    "HubError",
    "HubFacts",
    "HubQuestion",
    "ask_hub",
    "facts_from",
    "known_facts",
    "model_facts",
    "told",
]
