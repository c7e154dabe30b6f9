"""A data rank under the load of a target: its estimated times, for any number of requests that it works on at once.

A request takes the engine's time twice: its prompt is read, and each of its tokens takes a part of a step that all
requests share. Other requests wait while a prompt is read. With ``n`` requests at once, the time from token to token is
therefore a step, and ``n`` prompts divided by the tokens of a request; by Little's law, the rate of requests is ``n``
divided by the time that a request stays. A new prompt waits for the running step and for the prompts before it, as in a
queue of random arrivals with equal service times (Pollaczek and Khinchine). Prefix caching is not counted.
"""

from functools import cached_property
from math import ceil
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.engine import chunk_tokens
from shardwise.domain.layout import Layout
from shardwise.domain.model import HEADS, GroupedCache, Layer, Split, StateCache
from shardwise.planner.cost import FLOPS_SHARE, achieved_flops, border, exchange, stage_seconds, step_seconds, touched
from shardwise.planner.links import Links
from shardwise.planner.stages import stages_of

REQUEST_START: Final = 15e-3
"""Seconds of a request beside the steps of the engine: 6 to 14 ms for prompts of tokens on H200
(tests/data/vllm-h200-speed.json), more for prompts of text over a network."""

_BESIDE: Final = 1.5
"""Steps until the first token of a request that others are served beside: half a step until it begins, and its own."""

EXPERTS_SHARE: Final = 0.5
"""The share of the compute of other linear layers that experts achieve on prompts.

Fitted to Qwen3-235B in fp8 on eight H200, whose prompts took twice the time of the estimate without it
(TensorRT-LLM 1.0, docs/source/performance/perf-overview.md).
"""


class RankLoad:
    """The estimated times of a data rank. ``demand`` must have a target, and its context is that of the target."""

    def __init__(self, demand: Demand, layout: Layout, links: Links, input_tokens: int, output_tokens: int) -> None:
        self._demand = demand
        self._layout = layout
        self._links = links
        self._input = input_tokens
        self._output = output_tokens
        self._steps: dict[int, float] = {}

    def step(self, requests: int) -> float:
        """Give the seconds of a step of the engine without prompts: a token for each request."""
        known = self._steps.get(requests)
        if known is None:
            known = self._steps[requests] = self._step(requests)
        return known

    def _step(self, requests: int) -> float:
        """Work out a step. With a pipeline, the requests are divided into as many parts as there are stages."""
        stages = self._layout.pipeline
        batch = max(1, requests / stages) if stages > 1 else requests
        through = step_seconds(self._demand, self._layout, self._links, batch=batch)
        if stages == 1 or requests == 1:
            return through
        slowest = max(stage_seconds(self._demand, self._layout, self._links, batch=batch))
        sent = border(self._demand.model, self._layout, self._links, batch=batch)
        return max(through, min(requests, stages) * (slowest + sent))

    def per_token(self, requests: int) -> float:
        """Give the mean seconds from a token of a request to its next token."""
        return self.step(requests) + requests * self.prompt / self._output

    def rate(self, requests: int) -> float:
        """Give the requests per second that are served with so many at once."""
        return requests / (self._output * self.per_token(requests))

    def first_token(self, requests: int) -> float:
        """Give the mean seconds from a request to its first token."""
        step = self.step(requests)
        beside = _BESIDE * step if requests > 1 else 0.0
        before = requests * self.prompt**2 / (2 * self._output * step)
        return REQUEST_START + beside + before + max(self.through, step)

    @cached_property
    def prompt(self) -> float:
        """The seconds that a prompt takes of the stage that needs longest for it."""
        model, stages = self._demand.model, stages_of(self._demand.model, self._demand.engine, self._layout.pipeline)
        layers = tuple(self._layer_seconds(index, layer) for index, layer in enumerate(model.kinds))
        return max(stage.total(layers) for stage, _ in stages)

    @cached_property
    def through(self) -> float:
        """The seconds that a prompt takes through all stages. Its chunks follow one another through the pipeline."""
        chunk, stages = chunk_tokens(self._layout.data), self._layout.pipeline
        chunks = ceil(self._input / chunk)
        sent = (stages - 1) * border(self._demand.model, self._layout, self._links, batch=min(chunk, self._input))
        return self.prompt * (chunks + stages - 1) / chunks + sent

    def _layer_seconds(self, index: int, layer: Layer) -> float:
        """Estimate the time of a prompt in a layer: linear layers, attention, and exchanges, chunk by chunk."""
        model, layout, links = self._demand.model, self._layout, self._links
        chunk = min(chunk_tokens(layout.data), self._input)
        experts = any(weight.experts is not None for weight in layer.weights)
        achieved = achieved_flops(model, links.kind) * (EXPERTS_SHARE if experts else 1)
        linear = 2 * touched(self._demand, index, layout, 1)[1] * self._input / achieved
        attention = attention_flops(layer, self._input) / layout.tensor / (FLOPS_SHARE * links.kind.flops)
        return linear + attention + exchange(model, layer, layout, links, chunk) * self._input / chunk


class DecodeLoad(RankLoad):
    """The estimated times of a data rank of decode: no prompt comes between its steps."""

    def per_token(self, requests: int) -> float:
        """Give the seconds from a token of a request to its next token."""
        return self.step(requests)

    def first_token(self, requests: int) -> float:
        """Give the part of the time to the first token that passes in decode, after the KV cache has come."""
        return REQUEST_START + _BESIDE * self.step(requests)


def attention_flops(layer: Layer, tokens: int) -> float:
    """Count the operations by which the tokens of a prompt attend to the tokens before them, or in their window."""
    if layer.cache is None or isinstance(layer.cache, StateCache):
        return 0.0
    window = layer.cache.window if isinstance(layer.cache, GroupedCache) else None
    seen = tokens / 2 if window is None else min(tokens / 2, window)
    width = sum(weight.inputs for weight in layer.weights if weight.split is Split.INPUTS and weight.unit_name == HEADS)
    return 4.0 * tokens * seen * width
