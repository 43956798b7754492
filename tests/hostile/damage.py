"""Values that no file of this suite holds, and valid content with one of them in it."""

import copy
from typing import Any

from hypothesis import strategies as st

WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 99, 2**53 + 1, 2**63, 10**400, -(10**400)]),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e308, 1e-320, 0.5]),
    st.sampled_from(["", "\x1b[31mred", "<script>alert(1)</script>", "\ud800", "a\nb", "\u202e", "x" * 100_000, "nan"]),
    st.text(max_size=8),
    st.recursive(st.integers(), lambda inner: st.lists(inner, max_size=3), max_leaves=5),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@st.composite
def damaged(draw: st.DrawFn, content: Any, most: int = 2) -> Any:
    """A copy of ``content`` in which values at a few places are wrong, gone, or too many."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, most))):
        holder, key = content, None
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if not isinstance(holder[key], dict | list) or not holder[key] or draw(st.integers(0, 3)) == 0:
                break
            holder = holder[key]
        if key is None:
            continue
        match draw(st.sampled_from(["replace", "replace", "delete", "add"])):
            case "replace":
                holder[key] = draw(WRONG)
            case "delete":
                del holder[key]
            case _ if isinstance(holder, dict):
                holder[draw(st.text(max_size=5))] = draw(WRONG)
            case _:
                holder.append(draw(WRONG))
    return content
