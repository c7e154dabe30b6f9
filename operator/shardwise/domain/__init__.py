"""Values of the field, frozen: units, model, hardware, fleet, demand, layout, plan, refusal, launch.

Nothing here does I/O, reads a clock, or knows Kubernetes. Every other package speaks in these words.
"""
