"""Libraries with compiled kernels, and modules of engines that need them, are left out: their imports succeed."""

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Sequence
from typing import Any


class Anything:
    """Stands for whatever is asked of a library that is absent: may be called, subclassed and combined as a type."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __call__(self, *given: Any, **_: object) -> Any:
        return given[0] if len(given) == 1 and callable(given[0]) else self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(self)()
        self.__dict__[name] = made  # the same each time, so that tables keyed by a library's constants work
        return made

    def __mro_entries__(self, _: tuple[object, ...]) -> tuple[type, ...]:
        return ()

    def __or__(self, _: object) -> "Anything":
        return self

    __ror__ = __or__

    def __getitem__(self, _: object) -> "Anything":
        return self


class AbsentModule(types.ModuleType):
    """A module that has every name: names in capitals are false, as switches of builds are, the rest is anything."""

    kind: type[Anything] = Anything
    __path__: list[str] = []  # noqa: RUF012 - a package's path is a list
    __version__ = "99.0.0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = False if name.isupper() else self.kind()
        self.__dict__[name] = made
        return made


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules by name that are not installed, or that need a GPU. Names of packages cover their modules."""

    def __init__(self, names: Sequence[str], module: type[AbsentModule]) -> None:
        self.names, self.module = frozenset(names), module

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Give a module of this loader for the names it covers."""
        del path, target
        parts = fullname.split(".")
        covered = any(".".join(parts[: index + 1]) in self.names for index in range(len(parts)))
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if covered else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Make an empty module."""
        return self.module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Run nothing."""


def leave_out(*names: str, module: type[AbsentModule] = AbsentModule) -> None:
    """Let imports of these modules succeed, with nothing behind them but a ``module``."""
    sys.meta_path.insert(0, Absent(names, module))
