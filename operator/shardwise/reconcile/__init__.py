"""The reconcile core: ``decide(wanted, observed, now) -> Decision``. It is pure: it reads values and gives values.

The core is level-triggered: it makes the same decision for create, resume, update and every event. Any action may be
lost or repeated. The next decision sees the outcome and goes on from there.

Importers name the module, so that each command loads the modules of its own work.
"""
