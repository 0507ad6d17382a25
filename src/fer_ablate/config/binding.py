"""Checks arguments in the config against the signatures of the third-party classes that will get them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from inspect import Parameter, signature
from numbers import Real
from typing import Any, TypeGuard

from fer_ablate.config.overrides import Override
from fer_ablate.config.schema import Config
from fer_ablate.errors import Fault, FaultyConfigError, choices


def argument_faults(
    target: Callable[..., Any], given: Mapping[str, Any], key: str, supplied: Sequence[str] = (), unless: Iterable[str] = ()
) -> list[Fault]:
    """Faults of arguments: names that `target` does not know, names it needs, and values of another kind.

    Args:
        target: a class or function with a readable signature.
        given: arguments by name, as the config has them.
        key: their place in the config, such as `optimizer`.
        supplied: names the program passes itself; giving them is a fault.
        unless: other names that are allowed in this section; also suggested for misspelt ones.
    """
    parameters = signature(target).parameters
    named = [
        name for name, parameter in parameters.items() if parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    ]
    takes_any = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())
    free = [name for name in named if name not in supplied]
    known = [*unless, *free]
    faults = []
    for name, value in given.items():
        if name in supplied:
            faults.append(Fault(f"{key}.{name}", "is set by the program itself.", "Leave it out."))
        elif name not in free and not takes_any:
            faults.append(Fault(f"{key}.{name}", f"{target.__name__} takes no such argument.", choices(name, known)))
        elif name in free and (problem := _kind_problem(value, parameters[name].default)):
            faults.append(Fault(f"{key}.{name}", problem))
    for name in free:
        if parameters[name].default is Parameter.empty and name not in given:
            faults.append(Fault(f"{key}.{name}", f"is missing; {target.__name__} needs it.", f"Add {key}.{name}=..."))
    return faults


def _kind_problem(value: Any, default: Any) -> str:
    """Compare a value with the kind of the default; a default of None or a string says nothing about the kind."""
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else f"{value!r} is neither true nor false."
    if is_number(default):
        return "" if is_number(value) else f"{value!r} is not a number."
    if isinstance(default, tuple):
        fits = (
            isinstance(value, Sequence)
            and not isinstance(value, str)
            and len(value) == len(default)
            and all(map(is_number, value))
        )
        return "" if fits else f"{value!r} is not a list of {len(default)} numbers."
    return ""


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a config value is a number; true and false are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def load_plugin(name: str, plugins: Sequence[str], key: str) -> Callable[..., Any]:
    """Import a user's own class.

    Args:
        name: dotted path, `package.module.Class`.
        plugins: top-level packages whose code the user allowed to run.
        key: the place of the name in the config.

    Raises:
        FaultyConfigError: the package is not allowed, or has no such class.
    """
    package, (module_name, _, attribute) = name.split(".")[0], name.rpartition(".")
    if package not in plugins:
        # A study file may come from a stranger, so only the command line can allow code to run.
        raise FaultyConfigError(
            [
                Fault(
                    key,
                    f"'{name}' would run code of the package '{package}'.",
                    f"Allow it with plugins=[{package}] on the command line.",
                )
            ]
        )
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise FaultyConfigError(
            [Fault(key, f"'{name}' cannot be imported: {error}.", "Install the package, or put its folder on PYTHONPATH.")]
        ) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        classes = [each for each, value in vars(module).items() if isinstance(value, type) and value.__module__ == module_name]
        raise FaultyConfigError([Fault(key, f"module '{module_name}' has no class '{attribute}'.", choices(attribute, classes))])
    return found  # type: ignore[no-any-return]


def plugin_faults(config: Config, typed: Sequence[str]) -> list[Fault]:
    """Faults of plugins that only a YAML file names: their code runs only if the command line names them too.

    Args:
        config: of the run.
        typed: the overrides of the command line.
    """
    if config.plugins and not names_plugins(typed):
        listed = ",".join(config.plugins)
        remedy = f"If you trust that code, pass plugins=[{listed}] on the command line."
        return [Fault("plugins", f"[{listed}] comes from a file.", remedy)]
    return []


def names_plugins(typed: Sequence[str]) -> bool:
    """Whether `plugins=` is among the overrides of a command line."""
    return any(one.key == "plugins" and one.prefix != "~" and one.value is not None for one in map(Override.parse, typed))
