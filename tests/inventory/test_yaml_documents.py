"""Texts into documents: what is legal is read as kubectl reads it, what is not is named with its line."""

from __future__ import annotations

import codecs
import time
import tracemalloc

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from watchbudget.inventory import yaml_values
from watchbudget.inventory.fleet import Problem, Source
from watchbudget.inventory.yaml_documents import MAX_DOCUMENTS, read_documents


def read(text: str | bytes) -> tuple[list[tuple[int | None, object]], list[str]]:
    """Numbers and values of the documents, and the problems."""
    problems: list[Problem] = []
    data = text.encode() if isinstance(text, str) else text
    documents = [(source.document, value) for source, value in read_documents(data, "a.yaml", problems)]
    return documents, [str(problem) for problem in problems]


def values(text: str | bytes) -> list[object]:
    documents, problems = read(text)
    assert problems == []
    return [value for _, value in documents]


def only_problem(text: str | bytes) -> str:
    documents, problems = read(text)
    assert documents == []
    assert len(problems) == 1
    return problems[0]


@pytest.fixture(params=["libyaml", "pure"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test with libyaml and without."""
    if request.param == "pure":
        monkeypatch.setattr(yaml_values, "CParser", None)


@pytest.mark.usefixtures("parser")
class TestLegal:
    def test_documents_are_numbered_and_empty_ones_left_out(self):
        text = "# licence\n---\na: 1\n---\n---\n# nothing\n---\nb: 2\n...\n"
        assert read(text) == ([(1, {"a": 1}), (4, {"b": 2})], [])

    def test_the_first_document_needs_no_marker(self):
        assert read("a: 1\n---\nb: 2\n") == ([(1, {"a": 1}), (2, {"b": 2})], [])

    @pytest.mark.parametrize(
        "text", ["", "\n\n", "# only a comment\n", "---\n", "---\n---\n", "\ufeff", "~", "null"]
    )
    def test_nothing(self, text: str):
        assert values(text) == []

    def test_a_marker_inside_a_block_is_text(self):
        assert values("a: |\n  ---\n  b\nc: 1\n") == [{"a": "---\nb\n", "c": 1}]
        assert values("a: ---b\n---c: 1\n") == [{"a": "---b", "---c": 1}]

    def test_a_document_may_begin_beside_its_marker(self):
        assert values("--- {a: 1}\n--- |\n  text\n") == [{"a": 1}, "text\n"]

    def test_directives(self):
        assert values("%YAML 1.1\n# c\n---\na: 1\n") == [{"a": 1}]

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_line_ends(self, end: str):
        assert read(end.join(["a: 1", "---", "b: 2", ""])) == ([(1, {"a": 1}), (2, {"b": 2})], [])

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
    def test_encodings_with_byte_order_mark(self, encoding: str):
        assert values("a: é€😀\n---\nb: 1\n".encode(encoding)) == [{"a": "é€😀"}, {"b": 1}]

    def test_big_endian_encodings(self):
        assert values(codecs.BOM_UTF16_BE + "a: é".encode("utf-16-be")) == [{"a": "é"}]

    def test_quoted_and_tagged_scalars_are_what_they_say(self):
        text = "[\"1\", '', yes, 'yes', !!str 5, ! 6, !!int '7', !Ref x, 2020-01-01, 1:30]"
        assert values(text) == [["1", "", True, "yes", "5", "6", 7, "x", "2020-01-01", "1:30"]]

    def test_python_tags_make_no_objects(self):
        assert values("!!python/object/apply:os.system ['echo x']") == [["echo x"]]

    def test_keys_become_strings(self):
        expected = {"1": "a", "true": "b", "1.5": "c", "8": "d", "false": "e"}
        assert values("{1: a, on: b, 1.5: c, 08: d, n: e}") == [expected]

    def test_aliases(self):
        assert values("a: &x [1, 2]\nb: *x\nc: {d: *x}\n") == [{"a": [1, 2], "b": [1, 2], "c": {"d": [1, 2]}}]

    def test_merge_keys(self):
        bases = "base: &b {x: 1, w: 1}\nmore: &m {w: 2, z: 2}\n"
        [value] = values(bases + "a: {<<: *b, x: 0}\nc: {<<: [*m, *b]}\nd: {'<<': 1}\n")
        assert isinstance(value, dict)
        assert value["a"] == {"x": 0, "w": 1}
        assert value["c"] == {"x": 1, "w": 2, "z": 2}
        assert value["d"] == {"<<": 1}


class TestJson:
    def test_json_is_read_as_json(self):
        assert values('{"a": [1, 2.5, true, null, "x\\u00e9\\ud83d\\ude00"]}') == [
            {"a": [1, 2.5, True, None, "xé😀"]}
        ]

    def test_several_values_and_markers(self):
        assert read('{"a": 1}\n{"b": 2}\n---\n{"c": 3}\n') == (
            [(1, {"a": 1}), (2, {"b": 2}), (3, {"c": 3})],
            [],
        )

    def test_a_flow_mapping_is_not_json_and_legal(self):
        assert values("{a: b}\n---\n{'a': [c, d]}\n") == [{"a": "b"}, {"a": ["c", "d"]}]

    def test_halves_of_surrogate_pairs_can_be_printed(self):
        [value] = values('{"\\ud800": ["\\udfff", {"a": "\\ud83d\\ude00"}]}')
        assert value == {"\ufffd": ["\ufffd", {"a": "😀"}]}

    def test_equal_keys_are_a_problem_and_the_last_counts(self):
        documents, problems = read('{"kind": "X", "metadata": {"name": "n", "name": "m"}}')
        assert documents == [(1, {"kind": "X", "metadata": {"name": "m"}})]
        assert problems == [
            "a.yaml, document 1: X m: the key 'name' stands twice in one mapping; the last value counts"
        ]

    def test_what_breaks_after_a_value_is_named_with_its_line(self):
        documents, problems = read('{"a": 1}\n\n{"b": \n')
        assert documents == [(1, {"a": 1})]
        assert problems == ["a.yaml, document 2: line 4: expecting value"]

    def test_truncated_json_is_named(self):
        assert only_problem('{"a": {\n"b": "c",\n').startswith("a.yaml, document 1: line 3: ")

    @pytest.mark.parametrize("number", ["1" * 5000, "-" + "9" * 400, "NaN", "Infinity"])
    def test_absurd_numbers_do_not_raise(self, number: str):
        read(f'{{"a": {number}}}')

    def test_depth_is_bounded(self):
        assert "nested deeper than 200 levels" in only_problem('{"a":' * 300 + "1" + "}" * 300)
        assert "nested deeper than 200 levels" in only_problem('{"a":' * 100_000)

    def test_the_number_of_values_is_bounded(self):
        assert "more than 2,000,000 values" in only_problem('{"a": [' + "0," * 2_000_000 + "0]}")


class TestDuplicates:
    def test_the_second_key_is_named_with_line_and_path_and_its_value_counts(self):
        text = (
            "---\nkind: DaemonSet\nmetadata: {name: x, namespace: ns}\nspec:\n  list:\n  - a: 1\n    a: 2\n"
        )
        documents, problems = read("a: 0\n" + text)
        assert documents[1] == (
            2,
            {"kind": "DaemonSet", "metadata": {"name": "x", "namespace": "ns"}, "spec": {"list": [{"a": 2}]}},
        )
        [problem] = problems
        assert problem.startswith(
            "a.yaml, document 2: DaemonSet ns/x: spec.list[0]: line 8: the key 'a' stands"
        )
        assert problem.endswith("with another value; the last one counts, as for the API server")

    @pytest.mark.parametrize(("text", "severity"), [("a: 1\na: 2", "error"), ("a: 1\na: 1", "warning")])
    def test_equal_values_are_harmless(self, text: str, severity: str):
        problems: list[Problem] = []
        assert len(list(read_documents(text.encode(), "a.yaml", problems))) == 1
        assert [problem.severity for problem in problems] == [severity]

    def test_a_million_duplicates_are_not_a_million_messages(self):
        _, problems = read("a: 1\n" * 10_000)
        assert len(problems) <= 25


@pytest.mark.usefixtures("parser")
class TestRefused:
    def test_exploding_aliases(self):
        levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
        problem = only_problem("\n".join(["a0: &a0 [x, x]", *levels]))
        assert problem == (
            "a.yaml, document 1: line 7: the alias *a5 expands the document to more than 2,000,000 values"
        )

    def test_exploding_merges(self):
        levels = [f"a{i}: &a{i} {{x: *a{i - 1}, y: {{<<: *a{i - 1}}}, z: *a{i - 1}}}" for i in range(1, 40)]
        assert "expands the document" in only_problem("\n".join(["a0: &a0 {b: c}", *levels]))

    def test_aliases_that_nest(self):
        levels = [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 300)]
        assert "nests the document deeper than 200 levels" in only_problem(
            "\n".join(["a0: &a0 [x]", *levels])
        )

    @pytest.mark.parametrize("text", ["&a [*a]", "a: &a {b: {c: *a}}", "&a {*a : b}"])
    def test_aliases_of_themselves(self, text: str):
        assert "the alias *a stands inside what it stands for" in only_problem(text)

    def test_an_alias_without_anchor(self):
        assert "the alias *b has no anchor" in only_problem("a: *b")

    def test_anchors_do_not_reach_other_documents(self):
        documents, problems = read("a: &x 1\n---\nb: *x\n")
        assert documents == [(1, {"a": 1})]
        assert len(problems) == 1

    @pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
    def test_deep_nesting(self, opening: str):
        assert "a.yaml, document 1: line 1:" in only_problem(opening * 10_000)

    def test_the_deepest_legal_nesting(self):
        [value] = values("[" * 200 + "]" * 200)
        assert isinstance(value, list)
        assert "nested deeper than 200 levels" in only_problem("[" * 201 + "]" * 201)

    @pytest.mark.parametrize("text", ["<<: a", "<<: [1]", "a: {b: {<<: }}"])
    def test_merges_of_what_is_no_mapping(self, text: str):
        assert "line 1: the merge key << takes a mapping" in only_problem(text)

    @pytest.mark.parametrize("text", ["{[a]: b}", "? {a: b}\n: c\n", "~: a", "null: a"])
    def test_keys_that_json_cannot_have(self, text: str):
        assert "stands where a key must be" in only_problem(text)


class TestBroken:
    def test_the_documents_around_a_broken_one_are_read(self):
        documents, problems = read("a: 1\n---\nkind: [unclosed\n---\nc: 3\n")
        assert documents == [(1, {"a": 1}), (3, {"c": 3})]
        assert len(problems) == 1
        assert problems[0].startswith("a.yaml, document 2: line 4: did not find expected ',' or ']'")

    def test_a_truncated_text_keeps_what_came_before(self):
        documents, problems = read("a: 1\n---\nb: 2\n---\nc: 'unfinis")
        assert [value for _, value in documents] == [{"a": 1}, {"b": 2}]
        assert "document 3: line 5: " in problems[0]

    def test_tabs_are_explained(self):
        problem = only_problem("a:\n\tb: 1\n")
        assert "line 2: " in problem
        assert "a tab" in problem

    def test_bytes_that_are_not_utf8_are_named_and_cost_one_document(self):
        documents, problems = read(b"a: 1\n---\n# x\nb: \xe9\n---\nc: 3\n")
        assert documents == [(1, {"a": 1}), (3, {"c": 3})]
        assert problems == ["a.yaml, document 2: line 4: is not UTF-8 text (byte 0xe9)"]

    @pytest.mark.parametrize(
        "data", [bytes(range(256)) * 64, b"\x7fELF\x02\x01\x01\x00", b"a: \x00b", b"a: \x1b[31m"]
    )
    def test_binary_data(self, data: bytes):
        assert only_problem(data).isprintable()

    @pytest.mark.parametrize(
        "data", [codecs.BOM_UTF16_LE + b"a", codecs.BOM_UTF32_LE + b"abc", b"\xff\xfe\x00\xd8"]
    )
    def test_broken_wide_text(self, data: bytes):
        assert "is not text" in only_problem(data)

    @pytest.mark.parametrize(
        "text",
        [
            "name: {{ .Values.name }}\n",
            'metadata: {{ include "x" . }}\n  y: z\n',
            "{{- if .Values.on }}\nkind: X\n{{- end }}\n",
        ],
    )
    def test_a_template_says_how_to_render_it(self, text: str):
        assert "helm template CHART | watchbudget audit -f -" in only_problem(text)

    def test_the_hint_comes_once(self):
        _, problems = read("a: {{ .x }}\n---\nb: {{ .y }}\n---\nc: 1\n")
        assert ["helm template" in problem for problem in problems] == [True, False]

    def test_a_file_of_broken_documents_is_given_up(self):
        _, problems = read("---\n[\n" * 1000)
        assert len(problems) == 21
        assert problems[-1].endswith("20 documents cannot be read: the rest of this file is left out")


class TestLarge:
    """Each finishes in seconds, on a slow machine too."""

    @pytest.mark.parametrize(
        "data",
        [
            b"[" * 2**26,
            b"- a\n" * 2**24,
            b"---\n[\n" * 2**23,
            b"&a " * 2**24,
            b"? " * 2**25,
            b"a" * 2**26 + b": 1",
            b'{"a":[' + b"{}," * 2**24,
            b"{'a':[" + b"{}," * 2**24,
            b"'" + b"\\" * 2**26,
        ],
        ids=["brackets", "items", "broken", "anchors", "keys", "one key", "json", "flow", "quote"],
    )
    def test_64_mib_of_nonsense_is_refused_quickly(self, data: bytes):
        started = time.monotonic()
        only = read(data)
        assert only[0] == []
        assert 0 < len(only[1]) <= 21
        assert time.monotonic() - started < 30

    def test_50_mb_of_objects_are_read_one_by_one(self):
        document = b"---\nkind: ConfigMap\nmetadata: {name: big}\ndata: {x: '" + b"y" * 1_000_000 + b"'}\n"
        data = document * 50 + b"---\nkind: last\n"
        problems: list[Problem] = []
        tracemalloc.start()
        try:
            count = sum(1 for _ in read_documents(data, "big.yaml", problems))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (count, problems) == (51, [])
        assert peak < 20_000_000  # a few documents, not the text

    def test_the_number_of_documents_is_bounded(self):
        documents, problems = read("---\na\n" * (MAX_DOCUMENTS + 5))
        assert len(documents) == MAX_DOCUMENTS
        assert problems == [
            f"a.yaml, document {MAX_DOCUMENTS}: more than {MAX_DOCUMENTS:,} documents: the rest is not read"
        ]


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc-_ .", max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(PLAIN)
def test_what_pyyaml_writes_is_read_back(value: object):
    # Quoted, as PyYAML and kubectl disagree on what may stand plain: y, 1:30, dates.
    text = yaml.safe_dump(value, allow_unicode=True, default_style='"')
    assert values("---\n" + text) == ([] if value is None else [value])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text("{}[]-:&*?|>#%@`'\"!,abc \n\t\\<~", max_size=80).map(str.encode))
@example(b"\xef\xbb\xbf---")
@example(b"--- {")
@example(b'{"a":1}garbage')
def test_arbitrary_bytes_are_read_or_named(data: bytes):
    documents, problems = read(data)
    for _, value in documents:
        assert value is not None
    for problem in problems:
        assert problem.startswith("a.yaml")
        problem.encode()


@settings(max_examples=200, deadline=None)
@given(st.text("{}[]-:&*?|>#'\"!,ab \n", max_size=60))
def test_with_and_without_libyaml_the_same_is_read(text: str):
    fast = [value for _, value in read(text)[0]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_values, "CParser", None)
        slow, problems = read(text)
    if not problems and not read(text)[1]:  # they refuse slightly different texts
        assert [value for _, value in slow] == fast


def test_sources_count_from_one():
    [document] = read_documents(b"a: 1", "x", [])
    assert document.source == Source("x", 1)
