"""The classes themselves: what of them is native, and what may be derived."""

from __future__ import annotations

import asyncio
import types

import pytest
import saburo


def test_what_a_loop_inherits_natively_stands_in_its_own_class() -> None:
    # Only there does the interpreter call it directly.
    native = {name for name in vars(saburo._saburo.Loop) if not name.startswith("__")}
    assert {"call_soon", "call_later", "create_future", "create_task", "time"} <= native
    for name in native:
        method = getattr(saburo.Loop, name)
        if isinstance(method, types.MethodDescriptorType):
            assert method.__objclass__ is saburo.Loop, name
            assert method.__doc__ == getattr(saburo._saburo.Loop, name).__doc__
    # What is written over it stays, in the class itself and in its bases.
    assert isinstance(saburo.Loop.set_debug, types.FunctionType)
    assert isinstance(saburo.Loop._after_fork, types.FunctionType)

    with pytest.raises(TypeError, match="Loop"):
        saburo.Loop.time(object())  # type: ignore[arg-type]
    for stranger in (asyncio.AbstractEventLoop, 1):
        with pytest.raises(TypeError, match="derives"):
            saburo._saburo.copy_inherited_methods(stranger)  # type: ignore[arg-type]


def test_tasks_and_timers_have_what_they_inherit_as_their_own() -> None:
    for heir, base in ((saburo.Task, saburo.Future), (saburo.TimerHandle, saburo.Handle)):
        for name, method in vars(base).items():
            if isinstance(method, types.MethodDescriptorType):
                assert vars(heir)[name].__objclass__ is heir, name


def test_a_derived_class_inherits_and_overrides() -> None:
    class Late(saburo.Loop):
        def time(self) -> float:
            return super().time() + 1000

    loop = Late()
    assert loop.time() > saburo.Loop.time(loop) + 999
    assert loop.get_debug() is False
    loop.close()
