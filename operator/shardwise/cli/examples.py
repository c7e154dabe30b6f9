"""Examples at the end of a command's help."""


def examples(*shown: tuple[str, str]) -> str:
    """Give the end of a help text: each example is a comment that says its purpose, and a command line."""
    # click keeps the lines of a paragraph that begins with \b.
    paragraphs = (f"\b\n  # {says}\n  {command}" for says, command in shown)
    return "\n\n".join(("Examples:", *paragraphs))
