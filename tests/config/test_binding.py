import pytest

from fer_ablate.config.binding import argument_faults, load_plugin
from fer_ablate.errors import FaultyConfigError


def blur(faces, kernel, sigma=1.0, repeat=False, sides=(3, 3), border=None): ...


def anything(**options): ...


def faults_of(given, target=blur):
    return [str(fault) for fault in argument_faults(target, given, "augment", supplied=("faces",))]


def test_sound_arguments_have_no_faults():
    assert faults_of({"kernel": "box", "sigma": 2, "repeat": True, "sides": [5, 5], "border": "black"}) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kernel": 3, "sigmo": 2.0}, "augment.sigmo: blur takes no such argument.\n    Did you mean 'sigma'?"),
        ({"kernel": 3, "faces": 1}, "augment.faces: is set by the program itself."),
        ({}, "augment.kernel: is missing; blur needs it."),
        ({"kernel": 3, "sigma": "abc"}, "augment.sigma: 'abc' is not a number."),
        ({"kernel": 3, "sigma": True}, "augment.sigma: True is not a number."),
        ({"kernel": 3, "repeat": 1}, "augment.repeat: 1 is neither true nor false."),
        ({"kernel": 3, "sides": [3]}, "augment.sides: [3] is not a list of 2 numbers."),
    ],
)
def test_each_fault_names_its_key_and_value(given, message):
    (fault,) = faults_of(given)
    assert message in fault


def test_free_keywords_take_any_name():
    assert faults_of({"whatever": 1}, target=anything) == []


def test_a_package_not_allowed_is_not_even_imported(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("raise SystemExit('ran')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(FaultyConfigError, match=r"plugins=\[stranger\]"):
        load_plugin("stranger.Network", ["friend"], "model.name")


def test_a_broken_module_is_a_fault_in_words(tmp_path, monkeypatch):
    (tmp_path / "half_written.py").write_text("class Net(:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(FaultyConfigError, match=r"'half_written.Net' cannot be imported: SyntaxError: invalid syntax"):
        load_plugin("half_written.Net", ["half_written"], "model.name")


def test_an_allowed_class_is_found():
    assert load_plugin("collections.OrderedDict", ["collections"], "model.name").__name__ == "OrderedDict"
