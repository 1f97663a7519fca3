"""UPPERCASE variables in the source of an experiment file."""

from __future__ import annotations

import textwrap

import pytest

from expedition.authoring.variables import assigned_variables


def found(source):
    return {name: v.description for name, v in assigned_variables(textwrap.dedent(source)).items()}


def test_which_names_are_variables():
    source = """
        A = 1
        B: int = 2
        C, (D, [F]) = 3, (4, [5])
        G = H = 6
        N2_X = 7
        if A:
            I = 1
        else:
            J = 2
        try:
            K = 1
        except ValueError:
            L = 2
        except TypeError:
            L2 = 2
        finally:
            M = 3
        with open("x") as stream:
            O = 1
        for _ in range(2):
            P = 1
        while False:
            Q = 1
        match A:
            case 1:
                R = 1
    """
    assert set(found(source)) == {*"ABCDFGHIJKLMOPQR", "N2_X", "L2"}


@pytest.mark.parametrize(
    "source",
    [
        "from math import pi as PI",
        "import numpy as NP",
        "A: int",  # declared, not assigned
        "_A = 1",
        "__DEBUG__ = True",
        "a = Ab = 1",
        "def f():\n    A = 1\n    global B\n    B = 2",
        "class X:\n    A = 1",
        "[A := 1]",
        "a.B = 1",
        "a[B] = 1",  # B is read here
        "a.B[C].D = 1",
        "for A in range(3): pass",
        "with open('x') as F: pass",
        "class A: pass",
        "def A(): pass",
        "# A = 1",
        "'''\nA = 1\n'''",
        "",
    ],
)
def test_what_is_no_variable(source):
    assert found(source) == {}


def test_except_star():
    assert set(found("try:\n    A = 1\nexcept* ValueError:\n    B = 2")) == {"A", "B"}


def test_descriptions():
    source = '''
        A = 1  # trailing, with # sign
        B = 2  #: Sphinx form
        C = 3
        D = (1,
             2)  # behind the last line
        E = """text # no comment
        """  # after the text
        F, G = 1, 2  # both
        H = "# in a text"
        # A comment above is none.
        I = 1
        # :param C: described
        #    and goes on
        #    for lines

        # :param A:   wins over the trailing one
        J: float = 1.0; K = 2  # one line
        L = 1  # the first
        L = 2  # not the second
    '''
    assert found(source) == {
        "A": "wins over the trailing one",
        "B": "Sphinx form",
        "C": "described and goes on for lines",
        "D": "behind the last line",
        "E": "after the text",
        "F": "both",
        "G": "both",
        "H": "",
        "I": "",
        "J": "one line",
        "K": "one line",
        "L": "the first",
    }


def test_a_description_may_end_the_file():
    for end in ("", "\n", "\n\n"):
        source = f"A = 1\n# :param A:\n#     the last\n#     line{end}"
        assert assigned_variables(source)["A"].description == "the last line"


def test_order_is_that_of_the_page():
    assert list(assigned_variables("Z = 1\nA = 2\nM = 3\nA = 4\n")) == ["Z", "A", "M"]
    assert assigned_variables("\n\nZ = 1\n")["Z"].line == 3
