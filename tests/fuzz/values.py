"""Values that nobody expects: what users mistype, and what breaks programs."""

import yaml
from hypothesis import strategies as st

ODD_NUMBERS = [
    -1, 0, 1, 2, 3, 10, 0.5, -0.5, 1.5, -0.0, 1e-9, 1e9, 1e308, 2**31, 2**32, 2**63, -(2**63), 10**30, float("nan"),
    float("inf"), -float("inf"),
]  # fmt: skip
SMALL_NUMBERS = [-1, 0, 1, 2, 3, 5, 0.5, -0.5, 1.5, 1e-9, float("nan"), float("inf"), -float("inf")]
ODD_WORDS = [
    "", " ", "None", "null", "~", "True", "yes", "no", "on", "1e5", "1_000", "2024_01", "0x10", "007", "nan", "inf",
    "[1", "{a: b", "[0,inf)", "'", '"', "%s", "{}", "../x", "/", "a b", "a\tb", "a\nb", "a:b", "a/b", "\x00", "\x1b[2J",
    "\ufeff", "é", "日本", "\ud800", "=HYPERLINK(1)", "<script>", "`x`", "!!python/name:os.system", "*x", "&x 1", "? x",
    "os:system", "subprocess:Popen", "builtins:eval", "torch.nn:Linear", "nowhere:Nothing", ":", "x:", ":x", "a" * 3000,
    "[" * 500, "9" * 5000,
]  # fmt: skip


def scalars(numbers=tuple(ODD_NUMBERS)):
    return st.one_of(
        st.none(), st.booleans(), st.sampled_from(numbers), st.sampled_from(ODD_WORDS), st.text(max_size=8)
    )


def values(numbers=tuple(ODD_NUMBERS)):
    """A value of any type: numbers, words, lists and dictionaries of them."""
    inner = scalars(numbers)
    keys = st.one_of(st.text(max_size=4), st.sampled_from(["split", "LS", "max_norm", "mode", "distribution", "inter"]))
    return st.one_of(
        inner, inner, st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=2),
        st.lists(st.lists(inner, max_size=2), max_size=2), st.dictionaries(st.integers(-2, 2), inner, max_size=2),
    )  # fmt: skip


def near(value, numbers=tuple(ODD_NUMBERS)):
    """One of the value's kind, or any other."""
    kinds = [values(numbers)]
    if isinstance(value, bool):
        kinds.append(st.booleans())
    elif isinstance(value, (int, float)):
        kinds.append(st.sampled_from(numbers))
    elif isinstance(value, list) and value:
        kinds += [st.lists(st.sampled_from(value), max_size=3), st.lists(scalars(numbers), max_size=3)]
    elif isinstance(value, dict) and value:
        kinds.append(st.builds(lambda name, new: {**value, name: new}, st.sampled_from(list(value)), values(numbers)))
    return st.one_of(kinds)


@st.composite
def changed(draw, tree, numbers=tuple(ODD_NUMBERS)):
    """A tree of dictionaries and lists in which one place is another value, or is gone, or has a neighbour."""
    path, node = [], tree
    while isinstance(node, (dict, list)) and node and (not path or draw(st.booleans())):
        key = draw(st.sampled_from(list(node) if isinstance(node, dict) else list(range(len(node)))))
        path.append(key)
        node = node[key]
    if not path:
        return draw(values(numbers))
    how = draw(st.sampled_from(["other", "other", "gone", "more"]))
    return _with_change(tree, path, how, draw(near(node, numbers)), draw(st.text(max_size=6)))


def _with_change(tree, path, how, value, name):
    copy = tree.copy()
    [key, *rest] = path
    if rest:
        copy[key] = _with_change(tree[key], rest, how, value, name)
    elif how == "gone":
        del copy[key]
    elif how == "more" and isinstance(copy, dict):
        copy[name] = value
    elif how == "more":
        copy.append(value)
    else:
        copy[key] = value
    return copy


def as_yaml(content):
    """YAML text of plain values; what cannot be encoded is replaced, as an editor would."""
    return yaml.safe_dump(content, allow_unicode=False).encode("utf-8", "replace").decode("utf-8")


def as_words(options):
    """The options as words of a command line."""
    return [f"--{name}={value}" for name, value in options.items()]
