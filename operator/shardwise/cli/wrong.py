"""The one error of the command line."""


class WrongInput(Exception):
    """Input that cannot be worked with; each line says one thing that is wrong."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
