"""Words and documents for plans and refusals. The planner decides and counts; only this package writes sentences.

The package is pure and reads domain values alone. A message gives the fact with its number and unit first, and the
remedy last.

Importers name the module, so that each command loads the modules of its own work.
"""
