"""Compiled code that remembers an attribute finds its new value after a change (`hack/compiled.h`)."""

import gc
import importlib.machinery
import importlib.util
import shutil
import sys
import weakref
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")

HACK = Path(__file__).parents[2] / "hack"

KNOBS = """
size = 1

def double(it):
    return 2 * it
"""

SAMPLE = """
from typing import Any

import knobs

LIMIT = 10

class Native:
    def __init__(self, value: Any) -> None:
        self.value = value

class Undefined:
    value: Any

def value(it: Any) -> Any:
    return it.value

def change(it: Any, value: Any) -> None:
    it.value = value

def name(it: Any, *args: Any) -> Any:
    return it.name(1)

def limit() -> Any:
    return LIMIT

def size() -> Any:
    return knobs.size

def double() -> Any:
    return knobs.double(4)
"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Any:
    loader = importlib.machinery.SourceFileLoader("hack_compile", str(HACK / "compile"))
    spec = importlib.util.spec_from_loader("hack_compile", loader)
    assert spec is not None
    compile_ = importlib.util.module_from_spec(spec)
    loader.exec_module(compile_)
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "knobs.py").write_text(KNOBS)
    (folder / "sample.py").write_text(SAMPLE)
    compile_.extend(folder, ["sample.py"])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        importlib.invalidate_caches()
        made = importlib.import_module("sample")
        assert isinstance(made.__loader__, importlib.machinery.ExtensionFileLoader)
        yield made
    for module in ("sample", "knobs"):
        del sys.modules[module]


class One:
    __slots__ = ("other", "value")

    def name(self, it: int) -> tuple[str, int]:
        return "one", it


class Two:
    __slots__ = ("value",)

    @staticmethod
    def name(it: int) -> tuple[str, int]:
        return "two", it


class Free:
    """Has a dict."""

    def name(self, it: int) -> tuple[str, int]:
        return "free", it


class FromC(partial[None]):
    """Has a dict in the place where its base, a C class, has it."""

    def name(self, it: int) -> tuple[str, int]:
        return "from C", it


class Holder:
    """Calls the value of a slot."""

    __slots__ = ("name",)


class Record(msgspec.Struct):
    value: Any = None
    other: Any = None


class Frozen(msgspec.Struct, frozen=True):
    value: Any = None


class Loud:
    __slots__ = ("value",)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, f"{name}={value}")


def with_value(it: Any, value: object) -> Any:
    it.value = value
    return it


def test_slots_of_one_type_and_another(sample: Any) -> None:
    for _ in range(3):
        assert [sample.value(with_value(make(), make)) for make in (One, Two, Free)] == [One, Two, Free]


def test_attributes_of_compiled_classes_between_others(sample: Any) -> None:
    for number in range(3):
        assert sample.value(sample.Native(number)) == number
        assert sample.value(sample.Native(str(number))) == str(number)
        assert sample.value(with_value(One(), 7)) == 7
    with pytest.raises(AttributeError, match="value"):
        sample.value(sample.Undefined())


def test_a_slot_that_is_empty_again(sample: Any) -> None:
    it = with_value(One(), 1)
    assert sample.value(it) == 1
    del it.value
    with pytest.raises(AttributeError, match="value"):
        sample.value(it)


def test_a_slot_that_becomes_a_property(sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    it = with_value(One(), 1)
    assert sample.value(it) == 1
    monkeypatch.setattr(One, "value", property(lambda self: "other"))
    assert sample.value(it) == "other"
    monkeypatch.undo()
    assert sample.value(it) == 1


def test_methods_of_one_type_and_another_and_of_an_object(sample: Any) -> None:
    own: Any = Free()
    own_of_c: Any = FromC(print)
    own.name = own_of_c.name = lambda it: ("own", it)
    for _ in range(3):
        assert [sample.name(it) for it in (One(), Two(), Free(), own, FromC(print), FromC(print), own_of_c)] == [
            ("one", 1),
            ("two", 1),
            ("free", 1),
            ("own", 1),
            ("from C", 1),
            ("from C", 1),
            ("own", 1),
        ]


def test_slots_that_are_set_of_one_type_and_another(sample: Any) -> None:
    for number in range(3):
        them: list[Any] = [One(), Two(), Free(), Record(), Loud(), sample.Native(None)]
        for it in them:
            sample.change(it, number)
            sample.change(it, number + 1)
        assert [it.value for it in them] == [number + 1] * 4 + [f"value={number + 1}", number + 1]
        with pytest.raises(AttributeError):
            sample.change(Frozen(), number)


def test_what_a_slot_held_is_freed_and_what_it_holds_is_not(sample: Any) -> None:
    it, first, second = One(), Free(), Free()
    for held in (second, first, second, first, second):
        sample.change(it, held)
    del held
    assert (sys.getrefcount(first), sys.getrefcount(second)) == (2, 3)  # the name and the argument, and the slot


def test_a_struct_in_a_circle_is_collected(sample: Any) -> None:
    """msgspec exempts structs from the garbage collector while they only hold numbers and texts."""
    for _ in range(3):
        record = Record(1, "text")
        assert not gc.is_tracked(record)
        sample.change(record, 2)
        assert not gc.is_tracked(record)
        sample.change(record, circle := Free())
        circle.record = record  # type: ignore[attr-defined]
        gone = weakref.ref(circle)
        del record, circle
        gc.collect()
        assert gone() is None


def test_a_slot_that_is_set_becomes_a_property(sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    it: Any = One()
    told: list[Any] = []
    sample.change(it, 1)
    sample.change(it, 2)
    monkeypatch.setattr(One, "value", property(lambda self: 0, lambda self, value: told.append(value)))
    sample.change(it, 3)
    assert told == [3]
    monkeypatch.undo()
    assert it.value == 2


def test_what_a_slot_holds_is_called(sample: Any) -> None:
    it: Any = Holder()
    for number in range(3):
        it.name = lambda given, number=number: (given, number)
        assert sample.name(it) == sample.name(it) == (1, number)
        assert sample.name(One()) == ("one", 1)
    del it.name
    for _ in range(2):
        with pytest.raises(AttributeError, match="name"):
            sample.name(it)


@pytest.mark.parametrize("of", [One, Two, Free])
def test_a_method_that_is_replaced(sample: Any, monkeypatch: pytest.MonkeyPatch, of: Any) -> None:
    assert sample.name(of())[1] == 1
    monkeypatch.setattr(of, "name", lambda self, it: "replaced")
    assert sample.name(of()) == "replaced"
    monkeypatch.setattr(of, "name", staticmethod(lambda it: "static"))
    assert sample.name(of()) == "static"
    monkeypatch.undo()
    assert sample.name(of())[1] == 1


def test_a_type_that_takes_the_place_of_another(sample: Any) -> None:
    for number in range(50):  # freed types' memory is used again
        made = type(
            "Made", (), {"__slots__": ("b", "value") if number % 2 else ("value",), "name": lambda self, it: it}
        )
        assert (sample.value(with_value(made(), number)), sample.name(made())) == (number, 1)


def test_a_global_that_changes_and_goes(sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sample.limit() == sample.limit() == 10
    monkeypatch.setattr(sample, "LIMIT", 20)
    assert sample.limit() == 20
    monkeypatch.delattr(sample, "LIMIT")
    with pytest.raises(KeyError):  # mypyc's stand-in for a NameError
        sample.limit()


def test_what_another_module_holds_changes_and_goes(sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    knobs: ModuleType = sys.modules["knobs"]
    assert (sample.size(), sample.double()) == (1, 8)
    monkeypatch.setattr(knobs, "size", 2)
    monkeypatch.setattr(knobs, "double", lambda it: it)
    assert (sample.size(), sample.double()) == (2, 4)
    monkeypatch.delattr(knobs, "size")
    monkeypatch.delattr(knobs, "double")
    for ask in (sample.size, sample.double):
        with pytest.raises(AttributeError):
            ask()
