"""The README's Python blocks, run one after another as a reader would, and its stated output compared."""

import contextlib
import gc
import io
import re
import warnings
from pathlib import Path

from throttle import Policy

README = Path(__file__).parents[1] / "README.md"


def test_the_blocks_of_the_readme_run_and_the_first_prints_what_stands_below_it() -> None:
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    stated = re.search(r"^```\n(org-fan-out .*?)^```", text, re.DOTALL | re.MULTILINE)
    assert stated is not None
    namespace: dict[str, object] = {"__name__": "readme"}
    printed = []
    for block in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(block, README.name, "exec"), namespace)
        printed.append(out.getvalue())
    with warnings.catch_warnings():  # the server of the example is never run, so nobody closes its event loop
        warnings.simplefilter("ignore", ResourceWarning)
        namespace.clear()
        gc.collect()
    assert len(blocks) == 8
    assert printed[0] == stated.group(1)


def test_the_policies_of_the_readme_are_right() -> None:
    texts = re.findall(r"^```toml\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    stated, extended = (Policy.parse(text) for text in texts)
    assert [limit.name for limit in stated.limits] == ["pair-pace", "all-open"]
    assert [limit.name for limit in extended.limits] == [limit.name for limit in Policy.builtin().limits]
    pair = next(limit for limit in extended.limits if limit.name == "pair-pace")
    assert (pair.fields["rate"], pair.fields["burst"]) == ("4500/minute", 30_000)
    assert list(pair.fields["quota"]) == ["salesforce.com"]
