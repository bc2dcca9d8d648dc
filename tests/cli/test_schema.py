import json

from hpo.cli.main import main
from hpo.spec.schema_file import FILE, editor_line


def test_the_schema_its_path_its_line_and_a_copy(tmp_path, capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(FILE.read_text(encoding="utf-8"))
    assert main(["schema", "--path"]) == 0
    assert capsys.readouterr().out == f"{FILE}\n"
    assert main(["schema", "--line"]) == 0
    assert capsys.readouterr().out == f"{editor_line()}\n"
    copy = tmp_path / "with space.json"
    assert main(["schema", "--output", str(copy)]) == 0
    assert capsys.readouterr().out == f"{copy}\n"
    assert copy.read_text(encoding="utf-8") == FILE.read_text(encoding="utf-8")


def test_what_cannot_be_written_is_a_sentence(tmp_path, capsys):
    assert main(["schema", "-o", str(tmp_path / "no" / "x.json")]) == 1
    assert "No such file or directory" in capsys.readouterr().err
    assert main(["schema", "--path", "--line"]) == 2
    assert "keep one of them" in capsys.readouterr().err
