"""What suites there are, and what each of their cases is for: from the docstrings, without running anything."""
import ast
import pathlib

SUITES = pathlib.Path(__file__).resolve().parent / "suites"


def first_sentence(node):
    return (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")


def main():
    for path in sorted(SUITES.glob("test_*.py")):
        tree = ast.parse(path.read_text())
        print(f"{path.stem.removeprefix('test_')}\n  {first_sentence(tree)}")
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                print(f"    {node.name.removeprefix('test_')}: {first_sentence(node)}")


if __name__ == "__main__":
    main()
