#!/usr/bin/env python3
"""House rules that neither compiler nor formatter knows, one finding a line: `file:line: what`.

    python3 tools/lint.py              checks what git tracks
    python3 tools/lint.py --self-test  plants each fault and expects to find it

Headers begin with `// room/file.h - purpose`, have #pragma once, and say who may call them on which thread. Nothing that
is committed is left for later, names a path of somebody's machine, or has a tab or a blank at a line's end.
"""
import re
import subprocess
import sys

HEADER_EXEMPT = re.compile(r"(_test|for_test)\.h$|^bench/|^sim/|^tests/")
LATER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|\bfor now\b", re.IGNORECASE)
MACHINE = re.compile(r"(?<![\w.])/(home|root|work|Users)/\w+")
SOURCE = (".h", ".cc", ".py", ".sh", ".txt", ".cmake", ".md", ".proto")


def findings_of_text(path, text):
    """Yields (line, what) for one file."""
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if path != "tools/lint.py" and LATER.search(line):
            yield number, "something is left for later: do it, or say in docs/ why not"
        if path != "tools/lint.py" and MACHINE.search(line):
            yield number, "names a path of a machine"
        if line.rstrip(" \t") != line and not path.endswith(".md"):
            yield number, "blanks at the end of the line"
        if "\t" in line and path.endswith((".h", ".cc", ".py")):
            yield number, "a tab"
    if path.startswith("src/") and path.endswith(".h"):
        name = path[len("src/"):]
        if not lines[0].startswith(f"// {name} - "):
            yield 1, f"the first line is not `// {name} - what it is`"
        if "#pragma once" not in lines:
            yield 1, "no #pragma once"
        head = text.split("#pragma once")[0]
        if "// Thread:" not in head and not HEADER_EXEMPT.search(path):
            yield 1, "the head does not say on which thread (`// Thread:`)"


def tracked():
    out = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout
    return [path for path in out.split("\n") if path.endswith(SOURCE) or path in ("dev", ".ci/run")]


def self_test():
    good = "// a/b.h - a thing.\n//\n// Thread:  any.\n#pragma once\nint x;\n"
    faults = {
        "later": good + "// TODO\n",
        "for now": good + "// works for now\n",
        "machine": good + "// see /home/me/x\n",
        "blank": good + "int y; \n",
        "tab": good + "\tint y;\n",
        "name": good.replace("a/b.h", "b.h"),
        "pragma": good.replace("#pragma once\n", ""),
        "thread": good.replace("// Thread:  any.\n", ""),
    }
    missed = [name for name, text in faults.items() if not list(findings_of_text("src/a/b.h", text))]
    if list(findings_of_text("src/a/b.h", good)):
        missed.append("(a good file is refused)")
    print(f"self-test: {len(faults)} faults planted, {len(missed)} not as expected {missed or ''}")
    return 1 if missed else 0


def main():
    if "--self-test" in sys.argv:
        return self_test()
    count = 0
    for path in tracked():
        with open(path, encoding="utf-8") as file:
            for number, what in findings_of_text(path, file.read()):
                print(f"{path}:{number}: {what}")
                count += 1
    print(f"lint: {count} findings" if count else "lint: clean")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
