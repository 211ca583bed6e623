"""Labels beside marks do not cover one another."""

from __future__ import annotations

from itertools import combinations

from formers.plot.labels import Label, place_labels

FRAME = (0.0, 0.0, 400.0, 300.0)


def box(label: Label) -> tuple[float, float, float, float]:
    """Roughly what a label covers."""
    width = 7 * len(label.text)
    left = label.x - {"start": 0, "middle": width / 2, "end": width}[label.anchor]
    return (left, label.y - 12, left + width, label.y)


def test_marks_side_by_side_have_labels_apart_and_in_the_frame() -> None:
    labels = place_labels([(f"arm {i}", (200 + 5.0 * i, 150.0)) for i in range(4)], FRAME, [])
    assert len(labels) >= 3
    for a, b in combinations(map(box, labels.values()), 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    for left, top, right, bottom in map(box, labels.values()):
        assert left >= 0
        assert top >= 0
        assert right <= 400
        assert bottom <= 300


def test_a_label_at_the_right_edge_is_written_to_the_left() -> None:
    assert place_labels([("softmax", (395.0, 150.0))], FRAME, [])["softmax"].anchor == "end"


def test_without_a_free_place_there_is_no_label() -> None:
    assert place_labels([("softmax", (200.0, 150.0))], FRAME, reserved=[FRAME]) == {}


def test_where_a_name_has_no_place_a_shorter_one_is_written() -> None:
    wall = (0.0, 0.0, 170.0, 300.0), (230.0, 0.0, 400.0, 300.0)
    mark = [("a name that is too long", (200.0, 150.0))]
    assert place_labels(mark, FRAME, wall) == {}
    assert place_labels(mark, FRAME, wall, shorter={mark[0][0]: "#7"})[mark[0][0]].text == "#7"
