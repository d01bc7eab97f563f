"""Names that people choose and that become names of folders and files: experiments, runs, models, variants."""

LONGEST = 200
"""Bytes: file systems take 255, and a temporary or replaced file adds some to its name."""


def name_problems(key: str, name: str | None) -> list[str]:
    """What is wrong with a name, as a list of no or one problem; None is no name and no problem.

    A good name is one part of a path, so what it names can't lie outside the folder that it is put into.
    """
    if name is None:
        return []
    if wrong := _wrong(name):
        return [f"{key}={name[:60]!r} can't name a folder: it {wrong}; give a plain name, e.g. {key}=my_study"]
    return []


def _wrong(name: str) -> str | None:
    if not name.strip():
        return "is empty"
    if name.startswith("."):
        return "begins with a dot"
    if "/" in name or "\\" in name:
        return "holds a / or a \\"
    if any(ord(c) < 32 or ord(c) == 127 for c in name):
        return "holds a control character"
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "isn't valid Unicode"
    return f"has {length} bytes, more than {LONGEST}" if length > LONGEST else None
