"""Hook of MkDocs: parts of the repository's own files on pages, so that nothing is written twice.

    <!-- include README.md: Measured -->      a section, without its heading
    <!-- include runtime/lsrt.h -->           a source file, in parts: its lines "---- title" become headings"""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
LANGUAGES = {".h": "c", ".hpp": "cpp", ".fbs": "text"}


def section(path, title):
    """Of a Markdown file: links to pages stay links, those to sources become code."""
    text = (ROOT / path).read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.S | re.M)
    if not found:
        raise ValueError(f"{path} has no section '{title}'")
    text = re.sub(r"\]\(docs/", "](", found[1])
    return re.sub(r"\[(`?[^]`]+`?)\]\(((?:runtime|demos|cli|kernels)/[^)]+)\)", r"\1", text)


def source(path):
    path = pathlib.Path(path)
    parts = re.split(r"^(?:/\*|//) ---- (.*?)(?: \*/| -*)$", (ROOT / path).read_text(encoding="utf-8"), flags=re.M)
    fence = lambda code: f"````{LANGUAGES[path.suffix]}\n{code.strip()}\n````\n"  # noqa: E731
    out = fence(parts[0])
    for title, code in zip(parts[1::2], parts[2::2]):
        out += f"\n## {title[0].upper() + title[1:]}\n\n{fence(code)}"
    return out


def on_page_markdown(markdown, **_):
    include = lambda found: section(found[1], found[2]) if found[2] else source(found[1])  # noqa: E731
    return re.sub(r"^<!-- include (\S+?)(?:: (.+?))? -->$", include, markdown, flags=re.M)
