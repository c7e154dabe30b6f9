"""The sharding guide's rules, as a plan cites them: a sentence for each rule."""

from typing import Final

from shardwise.domain.plan import Rule

_RULES: Final = {
    Rule.ONE_GPU: "rule 1: it fits on one GPU, so it is not sharded",
    Rule.ONE_NODE: "rule 2: it fits in one node, so tensor parallelism over that node's links",
    Rule.STAGES_IN_NODE: "rule 2: it fits in one node, with pipeline stages over that node's links",
    Rule.TENSOR_ON_PCIE: (
        "rule 2: it fits in one node without NVLink, and tensor parallelism won against pipeline stages"
    ),
    Rule.PIPELINE_ON_PCIE: (
        "rule 2: it fits in one node without NVLink, and pipeline stages won against wider tensor groups"
    ),
    Rule.TENSOR_IN_NODE_PIPELINE_ACROSS: (
        "rule 3: it needs several nodes, so tensor parallelism inside the NVLink domain and pipeline stages across"
    ),
    Rule.PIPELINE_ACROSS_NODES: "rule 3: it needs several nodes without NVLink, so pipeline stages across them",
    Rule.STAGES_IN_DOMAIN: "rule 4: the nodes share one NVLink domain, with pipeline stages over the domain's links",
    Rule.STAGES_BETWEEN_NODES: (
        "rule 3: it needs several nodes; no stage spans nodes, so the stages talk over the network"
    ),
    Rule.MULTI_NODE_NVLINK_PIPELINE_ACROSS: (
        "rules 3 and 4: tensor parallelism spans the nodes of an NVLink domain, and pipeline stages go across domains"
    ),
    Rule.MULTI_NODE_NVLINK: "rule 4: the nodes share one NVLink domain, so tensor parallelism spans them",
    Rule.DATA_IN_DOMAIN: "rule 6: data ranks serve their own sequences, and share the experts inside an NVLink domain",
    Rule.DATA_ACROSS: "rule 6: data ranks serve their own sequences, and share the experts over RDMA across domains",
    Rule.PINNED: "pinned by `spec.parallelism`, and checked",
}


def rule(decided: Rule) -> str:
    """Say the rule that decided."""
    return _RULES[decided]
