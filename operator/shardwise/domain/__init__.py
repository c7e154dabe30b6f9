"""Frozen values: units, model, hardware, fleet, demand, layout, plan, refusal and launch.

Nothing here does I/O, reads a clock or knows Kubernetes. Every other package uses these values.
"""
