"""A profile whose child processes follow it, if it was asked for that; otherwise nothing of it is imported."""

from typing import TYPE_CHECKING, Any

from stepscope.session.steps import Stepping

if TYPE_CHECKING:
    from stepscope.session.children import Children
    from stepscope.session.handlers import TraceHandler

__all__ = ["Parent"]


class Parent(Stepping):
    """Cycles that the processes which are started during a run record too.

    Attributes:
        children: False, True, or the handler that they write with.
        on_trace_ready: what they write with if it is True.
    """

    children: "bool | TraceHandler" = False
    on_trace_ready: Any = None
    _children: "Children | None" = None

    def _handler_of_children(self) -> "TraceHandler | None":
        """What children write with.

        Raises:
            TypeError: nothing that every process can have.
        """
        if self.children is False:
            return None
        from stepscope.session.children import handler_of_children

        return handler_of_children(self.children, self.on_trace_ready)

    def _lead(self) -> None:
        """A run begins."""
        handler = self._handler_of_children()
        if handler is not None:
            from stepscope.session.children import Children

            self._children = Children(self._options, handler)

    def _dismiss(self) -> None:
        """The run is over."""
        children, self._children = self._children, None
        if children is not None:
            children.end()

    def _is_followed_here(self) -> bool:
        """In a forked child: count a step of its own, if it follows the run."""
        return self._children is not None and self._children.step_here()

    def start_trace(self) -> None:
        """As `Recording.start_trace`; children follow."""
        super().start_trace()
        if self._children is not None:
            self._children.opened(self._cycles, self.step_num, self._origin)

    def stop_trace(self) -> None:
        """As `Recording.stop_trace`; a step that is still running is cut, and children follow."""
        super().stop_trace()
        if self._children is not None:
            self._children.closed(self._running_step, self._fate)
