"""A span as a decorator: around a call, a coroutine, or each resumption of a generator; and in `async with`.

A generator's span is open only while the generator itself runs: held across a yield it would claim the
consumer's time and overlap the consumer's spans. A coroutine's span is held across its awaits.
"""

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from stepscope.core.twin.span import Span

__all__ = ["decorate", "decorate_native", "enter_awaited", "exit_awaited"]

Function = TypeVar("Function", bound=Callable[..., Any])


AroundCall = Callable[["Span", Callable[..., Any]], Any]


def decorate_native(span: "Span", function: Function) -> Function:
    """As `decorate`, with the C core's wrapper around plain calls."""
    from stepscope._native import around_call

    def around(span: "Span", function: Callable[..., Any]) -> Any:
        return functools.update_wrapper(around_call(span, function), function)

    return decorate(span, function, around)


def decorate(span: "Span", function: Function, around_call: "AroundCall | None" = None) -> Function:
    """The function with the span around it; coroutine and generator functions stay what they are.

    Raises:
        TypeError: it is not a function or another callable object, but a class, classmethod or staticmethod.
    """
    import inspect

    if isinstance(function, (type, classmethod, staticmethod)) or not callable(function):
        message = (
            f"record_function({span.name!r}) cannot decorate {function!r}. "
            "Put it below @classmethod or @staticmethod, or on the class's methods."
        )
        raise TypeError(message)

    if inspect.isasyncgenfunction(function):
        wrapper: Any = _around_async_generator(span, function)
    elif inspect.iscoroutinefunction(function):
        wrapper = _around_coroutine(span, function)
    elif inspect.isgeneratorfunction(function):
        wrapper = _around_generator(span, function)
    else:
        wrapper = (around_call or _around_call)(span, function)
    return wrapper  # type: ignore[no-any-return]


async def enter_awaited(span: "Span") -> "Span":
    """Begin a span in `async with`; nothing is waited for."""
    span.__enter__()
    return span


async def exit_awaited(
    span: "Span",
    kind: type[BaseException] | None = None,
    error: BaseException | None = None,
    trace: TracebackType | None = None,
) -> None:
    """End a span in `async with`."""
    span.__exit__(kind, error, trace)


def _around_call(span: "Span", function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with span:
            return function(*args, **kwargs)

    return call


def _around_coroutine(span: "Span", function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        with span.alone():  # calls overlap, and each must end its own
            return await function(*args, **kwargs)

    return call


def _around_generator(span: "Span", function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        generator: Generator[Any, Any, Any] = function(*args, **kwargs)
        resume: Callable[[], Any] = functools.partial(next, generator)
        while True:
            with span:
                try:
                    item = resume()
                except StopIteration as stop:
                    return stop.value
            try:
                sent = yield item
            except GeneratorExit:
                with span:
                    generator.close()
                raise
            except BaseException as error:  # noqa: BLE001 - it belongs to the generator inside
                resume = functools.partial(generator.throw, error)
            else:
                resume = functools.partial(generator.send, sent)

    return call


def _around_async_generator(span: "Span", function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        generator: AsyncGenerator[Any, Any] = function(*args, **kwargs)
        own = span.alone()
        resume: Callable[[], Awaitable[Any]] = functools.partial(anext, generator)
        while True:
            with own:
                try:
                    item = await resume()
                except StopAsyncIteration:
                    return
            try:
                sent = yield item
            except GeneratorExit:
                with own:
                    await generator.aclose()
                raise
            except BaseException as error:  # noqa: BLE001 - it belongs to the generator inside
                resume = functools.partial(generator.athrow, error)
            else:
                resume = functools.partial(generator.asend, sent)

    return call
