"""Finds, checks and builds what a config names by dotted path; binds arguments against the signatures that will get them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from inspect import Parameter, isfunction, signature
from numbers import Real
from pathlib import Path
from traceback import walk_tb
from typing import Any, TypeGuard

from fer_ablate.config.overrides import Override
from fer_ablate.config.schema import Config
from fer_ablate.errors import Fault, FaultyConfigError, choices, first_line


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
    try:
        parameters = signature(target).parameters
    except ValueError:  # some classes in C have no signature; what they refuse shows when they are built
        return []
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
            faults.append(Fault(f"{key}.{name}", f"{called(target)} takes no such argument.", choices(name, known)))
        elif name in free and (problem := _kind_problem(value, parameters[name].default)):
            faults.append(Fault(f"{key}.{name}", problem))
    for name in free:
        if parameters[name].default is Parameter.empty and name not in given:
            faults.append(Fault(f"{key}.{name}", f"is missing; {called(target)} needs it.", f"Add {key}.{name}=..."))
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
    except Exception as error:  # whatever the user's own module does while it is imported
        raise FaultyConfigError([Fault(key, f"'{name}' cannot be imported: {words_of(error, plugins)}.")]) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        classes = [each for each, value in vars(module).items() if isinstance(value, type) and value.__module__ == module_name]
        raise FaultyConfigError([Fault(key, f"module '{module_name}' has no class '{attribute}'.", choices(attribute, classes))])
    return found  # type: ignore[no-any-return]


def is_own(name: Any) -> bool:
    """Whether a name of a config is the dotted path of a part of the user's own."""
    return isinstance(name, str) and "." in name


def read_part(given: Any) -> tuple[str, dict[str, Any]]:
    """The dotted path and the arguments of a part in a list or mapping of the config: a path, or a mapping with `name`."""
    if isinstance(given, Mapping):
        return str(given.get("name") or ""), {str(name): value for name, value in given.items() if name != "name"}
    return str(given or ""), {}


def part_faults(
    name: str,
    arguments: Mapping[str, Any],
    plugins: Sequence[str],
    key: str,
    *,
    place: str = "",
    offered: Sequence[str] = (),
    first: int = 0,
    function_of: int = 0,
) -> list[Fault]:
    """List what is wrong with a part of the user's own before it is built: its name, its package, its arguments.

    Args:
        name: dotted path.
        arguments: as the config has them.
        plugins: the user's own packages that may be imported.
        key: the place of the name in the config, such as `loss.name`.
        place: the place of the arguments, such as `loss.arguments`; empty: beside the name.
        offered: names that the program passes where the part takes them, and the config does not give them.
        first: number of arguments that the program passes before them.
        function_of: as in `build_part`.
    """
    place = place or key.rpartition(".")[0]
    if not is_own(name):
        return [Fault(key, f"'{name}' is not the dotted path of a class or function.", "Write package.module.Name.")]
    try:
        target = load_plugin(name, plugins, key)
    except FaultyConfigError as error:
        return list(error.faults)
    if function_of and isfunction(target):
        first, offered = function_of, ()
    try:
        passed = list(signature(target).parameters)[:first]
    except ValueError:
        passed = []
    return argument_faults(target, arguments, place, [*passed, *(one for one in offered if one not in arguments)])


def build_part(
    name: str, arguments: Mapping[str, Any], plugins: Sequence[str], key: str, *given: Any, function_of: int = 0, **offered: Any
) -> Any:
    """Build a part of the user's own.

    Args:
        name: dotted path.
        arguments: as the config has them; lists become tuples, which YAML lacks.
        plugins: the user's own packages that may be imported.
        key: the place of the name in the config, for messages.
        given: arguments without a name that come first.
        function_of: above 0 where a plain function is not called to build the part but is the part itself, called with so many
            arguments beside those of the config; a class is always called to build it.
        offered: passed where the part takes an argument of this name, and the config does not give it.

    Raises:
        FaultyConfigError: it may not be imported, or raises an error of any kind.
    """
    target = load_plugin(name, plugins, key)
    if function_of and isfunction(target):
        return partial(target, **arguments)
    passed = {one: value for one, value in offered.items() if one not in arguments and takes(target, one)}
    try:
        return target(*given, **passed, **{one: _tupled(value) for one, value in arguments.items()})
    except Exception as error:  # of the user's own code
        raise FaultyConfigError([Fault(key, f"{name} fails: {words_of(error, plugins)}.")]) from error


def takes(target: Callable[..., Any], name: str, keywords: bool = False) -> bool:
    """Whether a class or function has an argument of this name, or with `keywords` takes any."""
    try:
        parameters = signature(target).parameters
    except ValueError:
        return keywords
    return name in parameters or (keywords and any(one.kind is Parameter.VAR_KEYWORD for one in parameters.values()))


def called(target: Any) -> str:
    """How a class, a function or an object is named in messages."""
    return str(getattr(target, "__name__", None) or type(target).__name__)


def words_of(error: BaseException, plugins: Sequence[str]) -> str:
    """An error of the user's own code in words, with the last line of that code that it passed through."""
    spot = ""
    for frame, line in walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] in plugins:
            spot = f" ({Path(frame.f_code.co_filename).name}, line {line})"
    return f"{type(error).__name__}: {first_line(error).rstrip('.')}{spot}"


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


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
