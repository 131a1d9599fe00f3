"""The pytest plugin as its users meet it: whole runs of pytest in a process of their own."""

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Write a test file and run pytest on it, without CI in the environment."""
    monkeypatch.delenv("CI", raising=False)

    def run_file(source: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess("--strict-markers", "-ra", *arguments)

    return run_file


def test_one_test_for_each_release(run, beam_releases):
    result = run("def test_sum(shared_beam): assert shared_beam.eval('lists:sum([1, 2])') == 3", "-v")
    result.assert_outcomes(passed=len(beam_releases))
    result.stdout.fnmatch_lines(
        ["beam: OTP*", "external term format: *", *[f"*otp{r.otp}*PASSED*" for r in beam_releases]]
    )


def test_a_run_without_beams_asks_for_none(run):
    result = run("def test_nothing(): pass")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*OTP*")


def test_a_missing_release_is_skipped(run):
    result = run("def test_it(beam): pass", "--otp", "99")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*no Erlang/OTP 99 on this machine (found: OTP *"])


@pytest.mark.parametrize("strict", ["--require-beam", "CI"])
def test_or_fails_where_it_must_be_there(run, strict, monkeypatch):
    arguments = ["--otp", "99"]
    if strict == "CI":
        # The fixture `run` has taken CI away; this sets it for the inner run.
        monkeypatch.setenv("CI", "true")
    else:
        arguments.append(strict)
    result = run("def test_it(beam): pass", *arguments)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no Erlang/OTP 99 on this machine*forbids to leave it out*"])


def test_markers_choose(run, beam_releases):
    source = """
        import pytest

        def test_plain(): pass

        @pytest.mark.otp(minimum=26)
        def test_new(beam_release): assert beam_release.otp >= 26

        @pytest.mark.otp(maximum=26)
        def test_old(beam_release): assert beam_release.otp <= 26
    """
    run(source, "-m", "not beam").assert_outcomes(passed=1, deselected=len(beam_releases))
    run(source, "-m", "beam").assert_outcomes(passed=len(beam_releases), deselected=1)


def test_a_failure_shows_what_the_beam_printed(run, beam_releases):
    source = """
        def test_it(beam):
            beam.eval('logger:error("words of the BEAM")')
            beam.wait_for_log("words of")
            assert False
    """
    result = run(source, "--otp", str(beam_releases[-1].otp))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*@127.0.0.1 printed*", "*words of the BEAM*"])


def test_a_crash_that_the_test_overlooks_fails_it(run, beam_releases):
    source = """
        def test_it(beam):
            beam.begin("erlang:halt(3)")
            beam._program.wait(5)
    """
    result = run(source, "--otp", str(beam_releases[-1].otp))
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*has ended by itself*", "exit status 3"])


def test_the_seed_repeats(run):
    source = "def test_it(rng): print('drawn', rng.random()); assert False"
    first = [line for line in run(source, "--seed", "7").outlines if line.startswith("drawn")]
    again = run(source, "--seed", "7")
    assert first
    assert first == [line for line in again.outlines if line.startswith("drawn")]
    again.stdout.fnmatch_lines(["seed: 7 *"])
