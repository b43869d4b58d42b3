"""A difference on a page: its beginning, line by line, whatever its length."""

from gateway.rules.merging import unified
from gateway.web.admin.rule_shown import DiffLine, DiffShown, diff_shown


def test_a_difference_is_shown_without_the_names_of_the_two() -> None:
    shown = diff_shown(unified("same\n---\n", "same\n+++\n", "revision 1", "edited"))
    told = [("muted", "@@ -1,3 +1,3 @@"), ("same", " same"), ("del", "----"), ("add", "++++"), ("same", " ")]
    assert shown == DiffShown([DiffLine(*line) for line in told])
    assert diff_shown("") == DiffShown([])


def test_of_a_long_difference_and_of_long_lines_the_beginning_is_shown() -> None:
    shown = diff_shown(unified("", "\n".join(["x" * 3000] * 1000), "nothing", "edited"))
    assert (len(shown.lines), shown.cut) == (600, 402)
    assert shown.lines[2].text == f"+{'x' * 1999}…"
