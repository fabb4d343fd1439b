"""Before a release every step holds, or the first that does not stops it and says what to do."""

import sys

import pytest

from tools import release_check
from tools.release_check import main, passes, unreleased


def test_the_first_step_that_fails_stops_it_and_says_what_to_do(monkeypatch, capsys):
    ran = []

    def good():
        ran.append("good")

    steps = {
        "good": good,
        "bad": passes(sys.executable, "-c", "raise SystemExit(3)", otherwise="mend it by hand"),
        "later": good,
    }
    monkeypatch.setattr(release_check, "STEPS", steps)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == "release-check: not so: bad; mend it by hand"
    assert ran == ["good"]
    said = capsys.readouterr().out
    assert said.splitlines() == ["[1/3] good", "[2/3] bad"]
    del steps["bad"]
    main()
    assert capsys.readouterr().out.splitlines()[-1] == "ready: tag it, and upload what is in dist/"


def test_the_version_is_the_changelogs():
    assert unreleased("1.2.0", "## Unreleased\n\n## 1.2.0, 2030-01-31\n- One.\n## 1.1.0, 2029-01-01\n") is None
    assert 'lines under "Unreleased"' in unreleased("1.2.0", "## Unreleased\n- New.\n## 1.2.0, 2030-01-31\n")
    assert "newest version is 1.1.0, pyproject.toml's 1.2.0" in unreleased("1.2.0", "## 1.1.0, 2029-01-01\n")
    assert "newest version is none" in unreleased("1.2.0", "# Changelog\n")
