"""Text, JSON and YAML from elsewhere: what is wrong is one sentence, and nothing is run."""

import pytest

from recbole_video.errors import ConfigError, DataError
from recbole_video.files.reading import decode_text, parse_json, parse_yaml, read_text, read_yaml

BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "\n".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!python/name:os.system", "tag `!!python/name:os.system` at line 1, column 4: tags of Python objects"),
        ("a: [1, !mine 2]", "tag `!mine` at line 1, column 8: tags of Python objects"),
        ("a: !!python/tuple [1, 2]", "line 1, column 4"),
        ("a: !!python/object/apply:os.system ['true']", "line 1, column 4"),
        ("a: 1\nb: 2\na: 3", "gives `a` twice, the second time in line 3"),
        ("a: {b: 1, b: 2}", "gives `b` twice"),
        ("a: &x [*x]", "alias of what it stands in, line 1"),
        (BOMB, "more than 100,000 values"),
        ("a: " + "[" * 20_000, "nested too deeply"),
        ("a: 2024-99-99", "month must be in"),
        ("a: " + "9" * 5000, "digits"),
        ("a: \x1b", "unacceptable character"),
        ("{a: b: c", "line 1, column 6"),
    ],
)
def test_yaml_that_is_refused(text, said):
    with pytest.raises(ConfigError, match=said) as caught:
        parse_yaml(text, "`mine.yaml`", ConfigError)
    assert "`mine.yaml`" in str(caught.value)


def test_yaml_has_recbole_s_numbers():
    assert parse_yaml("a: 1e-3\nb: 5.e+2\nc: .5e1\nd: 1e", "x", ConfigError) == {
        "a": 1e-3,
        "b": 500.0,
        "c": 5.0,
        "d": "1e",
    }


def test_yaml_may_repeat_itself_a_little():
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a", "x", ConfigError)["b"] == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "digits"),
        ('"\\ud800"', "surrogate"),
        ("[1e999]", "beyond what a float holds"),
        ("[NaN]", "NaN is not a number"),
        ('{"a":1', "JSON: Expecting ',' delimiter at column 7"),
        ('{"a":1,\n"b"', "at line 2, column 4"),
        ('{"a": 1, "a": 2}', "gives `a` twice"),
        ('{"\\ud800": 1}', "surrogate"),
    ],
)
def test_json_that_is_refused(text, said):
    with pytest.raises(DataError, match=said):
        parse_json(text, "`a.jsonl`, line 3")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a\nbé".encode("latin-1"), "byte 2 of line 2"),
        ("日本".encode("gbk"), "byte 1 of line 1"),
        ("ab".encode("utf-16"), "UTF-16"),
    ],
)
def test_other_encodings(content, said):
    with pytest.raises(DataError, match=said):
        decode_text(content, "a.txt")


def test_byte_order_mark_and_line_ends(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r")
    assert read_text(tmp_path / "a.yaml") == "a: 1\nb: 2\n"
    assert read_yaml(tmp_path / "a.yaml", ConfigError) == {"a": 1, "b": 2}


def test_messages_repeat_no_control_characters_and_no_megabytes():
    said = str(DataError("`\x1b[31m\x00" + "y" * 1_000_000 + "` is bad\u202e"))
    assert "\\x1b[31m\\x00" in said and "1,000,012 characters" in said and said.endswith("is bad\\u202e")
    assert len(said) < 300
    assert len(str(DataError("z" * 1_000_000))) < 2100


def test_a_message_that_is_taken_up_by_another_stays_as_it_is():
    said = str(DataError("`" + "y" * 1000 + "` is bad"))
    assert str(DataError(said)) == said
    long = str(DataError("z" * 10_000))
    assert str(DataError(long)) == long
    prose = "`a`" + " and so on" * 20 + "`b`"
    assert str(DataError(prose)) == prose
