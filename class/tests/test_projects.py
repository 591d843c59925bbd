"""The programs that the projects start from run as they stand."""

import os
import re
import subprocess
import sys

import pytest
import student

TEXT = (student.ROOT / "docs" / "projects.md").read_text("utf-8")
PROGRAMS = dict(re.findall(r"(?s)```python\n# (\w+\.py)\n(.*?)```", TEXT))
PRINTED = {
    "compare.py": r"second − first, paired: -?[\d.]+ ± [\d.]+\n",
    "rare.py": r"of the generator's faces with glasses: [\d.]+% \(.*% to .*%\)\n",
    "who.py": r"real against autoencoder: area under the ROC curve [\d.]+\n",
}


def test_there_are_three():
    assert set(PROGRAMS) == set(PRINTED)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_and_prints_its_table(name, tmp_path):
    (tmp_path / name).write_text(PROGRAMS[name], encoding="utf-8")
    environment = os.environ | {"GAN_BUDGET": "smoke", "PYTHONPATH": str(student.ROOT)}
    command = [sys.executable, name]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=3600)
    assert result.returncode == 0, result.stderr[-3000:]
    assert re.search(PRINTED[name], result.stdout), result.stdout
