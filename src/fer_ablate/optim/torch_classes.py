"""Classes of `torch.optim` with their signatures, which are read from torch's source: importing torch takes seconds."""

import ast
from functools import cached_property
from importlib.util import find_spec
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.optim import Optimizer


class TorchOptimizer:
    """An optimizer class of torch by its name; it is called like the class, which is imported only then.

    `inspect.signature` gives the signature of the class, as for any callable with a `__signature__`.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> "Optimizer":
        """Build the optimizer."""
        built: Optimizer = self.imported(*args, **kwargs)
        return built

    @property
    def imported(self) -> Any:
        """The class itself."""
        from torch import optim

        return getattr(optim, self.__name__)

    @cached_property
    def __signature__(self) -> Signature:
        # Where torch's source is laid out in another way, torch itself is asked, which is slow and right.
        return self._read() or signature(self.imported)

    def _read(self) -> Signature | None:
        """The signature as torch's source states it; None where it is not found, or has defaults that are computed."""
        spec = find_spec("torch")
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            file = Path(folder) / "optim" / f"{self.__name__.lower()}.py"
            for node in ast.parse(file.read_text(encoding="utf-8")).body if file.is_file() else ():
                if isinstance(node, ast.ClassDef) and node.name == self.__name__:
                    methods = (part for part in node.body if isinstance(part, ast.FunctionDef))
                    return next((_signature(method.args) for method in methods if method.name == "__init__"), None)
        return None


def _signature(arguments: ast.arguments) -> Signature | None:
    """The signature of a method without `self`; None if it cannot be read without running code."""
    if arguments.vararg or arguments.kwarg:
        return None
    named = [*arguments.posonlyargs, *arguments.args]
    # Defaults belong to the last of the named arguments.
    padded = [None] * (len(named) - len(arguments.defaults)) + arguments.defaults
    kinds = {
        Parameter.POSITIONAL_OR_KEYWORD: (named, padded),
        Parameter.KEYWORD_ONLY: (arguments.kwonlyargs, arguments.kw_defaults),
    }
    try:
        parameters = [
            Parameter(one.arg, kind, default=Parameter.empty if default is None else ast.literal_eval(default))
            for kind, (group, defaults) in kinds.items()
            for one, default in zip(group, defaults, strict=True)
        ]
    except ValueError:
        return None
    return Signature(parameters[1:])
