"""The generative classes of Transformers that say that an engine may run them by Transformers' own code."""

from typing import Any


def fallback() -> list[str]:
    """Give the generative classes of Transformers that an engine may run by Transformers' own code."""
    import transformers  # noqa: PLC0415
    from transformers.models.auto import modeling_auto as auto  # noqa: PLC0415

    groups = (
        auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
    )
    listed = (name for group in groups for names in group.values() for name in as_tuple(names))
    return [name for name in sorted(set(listed)) if is_compatible(getattr(transformers, name, None))]


def as_tuple(names: Any) -> tuple[str, ...]:
    """Give the names of a mapping's value, which is a name or several."""
    return (names,) if isinstance(names, str) else tuple(names)


def is_compatible(model: Any) -> bool:
    """Tell whether a class of Transformers says that an engine may run it."""
    try:
        return model is not None and bool(model.is_backend_compatible())
    except Exception:  # noqa: BLE001 - a class that needs a library of its own
        return False
