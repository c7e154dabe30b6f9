"""The error of the command line."""


class WrongInput(Exception):
    """Input that cannot be worked with; each line names an error."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
